//! PgBouncer before a PostgreSQL server.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use url::Url;

use super::{SOON, eventually, free_port, guard, programs};

/// A running PgBouncer, ended when dropped.
pub struct Pooler {
    process: Child,
    url: String,
    _folder: TempDir,
    _guard: guard::Guard,
}

impl Pooler {
    /// One before the database of this URL, with these lines in its settings.
    pub async fn before(database: &str, settings: &str) -> Self {
        let mut url = Url::parse(database).expect("the server's URL is one");
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), free_port());
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{name} = host={host} port={server} dbname={name} user={user} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n{settings}\n",
            name = url.path().trim_start_matches('/'),
            host = url.host_str().expect("it has a host"),
            server = url.port().expect("it has a port"),
            user = url.username(),
            password = url.password().expect("it has a password"),
        );
        std::fs::write(&file, text).expect("the folder is ours");
        programs::own(folder.path());
        programs::own(&file);
        let mut command = Command::new("pgbouncer");
        command.arg("--quiet").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((user, group)) = programs::user() {
            command.uid(user).gid(group);
        }
        let process = command.spawn().expect("pgbouncer is on the PATH: run ./test, which finds or installs it");
        url.set_port(Some(port)).expect("a port");
        url.set_host(Some("127.0.0.1")).expect("a host");
        let guard = guard::Guard::over_process(guard::pid_of(&process));
        let pooler = Self { process, url: url.into(), _folder: folder, _guard: guard };
        eventually("the pooler listens", SOON, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(())
        })
        .await;
        pooler
    }

    /// The database's URL, by way of the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(guard::pid_of(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}
