//! PostgreSQL: a database of the test's own on the shared server, or a whole server of its own.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::{NamedTempFile, TempDir};
use url::Url;

use super::disk::Disk;
use super::guard::{self, Guard};
use super::{SOON, database_url, eventually, free_port, programs, tail, unique};

/// A fresh, empty database, dropped at the end of the test.
pub struct Database {
    name: String,
    server: String,
    url: String,
}

impl Database {
    /// One on the server that the tests share.
    pub async fn fresh() -> Self {
        Self::on(&database_url()).await
    }

    /// One on the server with this URL, as a user who may create databases.
    pub async fn on(server: &str) -> Self {
        let name = unique("scanfence_test_");
        execute(server, &format!("create database {name}")).await.expect("a database can be created");
        let mut url = Url::parse(server).expect("the server's URL is one");
        url.set_path(&name);
        Self { name, server: server.to_owned(), url: url.into() }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection to it, for looking at what is there.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("a fresh database takes connections")
    }

    /// How many sessions hold a transaction open without doing anything in it.
    pub async fn idle_in_transaction(&self) -> i64 {
        let sessions = "select count(*) from pg_stat_activity \
                        where datname = current_database() and state like 'idle in transaction%'";
        sqlx::query_scalar(sessions).fetch_one(&mut self.connect().await).await.expect("sessions can be counted")
    }

    /// Makes later sessions meet, and makes the server count every deadlock. A written work order stays
    /// locked long enough for another session to wait for it. Two sessions that wait for each other are
    /// found before either gives up after a second.
    pub async fn show_deadlocks(&self) {
        let slow = format!(
            "alter database {} set deadlock_timeout = 50;
             create function linger() returns trigger language plpgsql as
                 $$ begin perform pg_sleep(0.01); return new; end $$;
             create trigger linger before update on work_orders for each row execute function linger()",
            self.name
        );
        execute(&self.url, &slow).await.expect("a superuser may, and the tables are there");
    }

    /// How many deadlocks the server has broken in it. A session reports its own only when it ends, so
    /// this waits until all others have ended.
    pub async fn deadlocks(&self) -> i64 {
        let mut connection = self.connect().await;
        eventually("the sessions end", SOON, async || {
            let others = "select count(*) from pg_stat_activity where datname = current_database() \
                          and backend_type = 'client backend' and pid <> pg_backend_pid()";
            let others: i64 =
                sqlx::query_scalar(others).fetch_one(&mut connection).await.expect("sessions can be counted");
            (others == 0).then_some(())
        })
        .await;
        let told = "select deadlocks from pg_stat_database where datname = current_database()";
        sqlx::query_scalar(told).fetch_one(&mut connection).await.expect("it has statistics")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // With `force` it ends the sessions that a failed test may have left.
        let drop = format!("drop database if exists {} with (force)", self.name);
        let server = self.server.clone();
        // A thread of its own, since the test's runtime can't be waited on from here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                // A server that is stopped or paused takes its databases with it.
                tokio::time::timeout(SOON, execute(&server, &drop)).await.is_ok_and(|dropped| dropped.is_ok())
            })
        });
        if !dropped.join().unwrap_or(false) {
            eprintln!("the database {} was not dropped", self.name);
        }
    }
}

async fn execute(url: &str, statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// A private PostgreSQL server, durable as by default. A test may stop, kill and pause it.
pub struct Postgres {
    // Dropped last, so that it still watches while the server is stopped.
    server: Option<Child>,
    programs: PathBuf,
    port: u16,
    password: String,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    folder: TempDir,
    /// Elsewhere, so that it can be written while the disk of the data is full.
    log: NamedTempFile,
    _guard: Guard,
}

impl Postgres {
    /// Starts one, with settings as in `postgresql.conf`.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_in(&std::env::temp_dir(), Vec::new(), settings).await
    }

    /// Starts one with its data on this disk.
    pub async fn start_on(disk: &Disk, settings: &[(&str, &str)]) -> Self {
        Self::start_in(disk.path(), disk.environment(), settings).await
    }

    /// Starts one that also speaks TLS, with this certificate and its key.
    pub async fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        let mut postgres = Self::prepared(&std::env::temp_dir(), Vec::new(), unique(""), Vec::new());
        let settings = [("ssl_cert_file", certificate), ("ssl_key_file", key)].map(|(setting, original)| {
            // It takes a key only from a file that nobody else may read.
            let file = postgres.folder.path().join(setting);
            std::fs::copy(original, &file).expect("the folder is ours");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("the file is ours");
            programs::own(&file);
            (setting.to_owned(), file.display().to_string())
        });
        postgres.settings.extend(settings);
        postgres.settings.push(("ssl".to_owned(), "on".to_owned()));
        postgres.init();
        postgres.first_run().await
    }

    async fn start_in(parent: &Path, environment: Vec<(String, String)>, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let postgres = Self::prepared(parent, environment, unique(""), settings);
        postgres.init();
        postgres.first_run().await
    }

    /// Starts a standby of this one, with its data on this disk, and waits until every commit
    /// waits for it.
    pub async fn standby_on(&self, disk: &Disk) -> Self {
        let standby = Self::prepared(disk.path(), disk.environment(), self.password.clone(), self.settings.clone());
        let copied = standby
            .command("pg_basebackup")
            .args(["--checkpoint=fast", "--no-sync", "--wal-method=stream", "--write-recovery-conf"])
            .args(["--dbname", &self.url("postgres"), "--pgdata"])
            .arg(standby.data())
            .output()
            .expect("pg_basebackup can be run");
        assert!(copied.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&copied.stderr));
        // Once promoted it stands alone, and must not wait for a standby like its primary.
        let mut settings = std::fs::OpenOptions::new()
            .append(true)
            .open(standby.data().join("postgresql.auto.conf"))
            .expect("its settings are there");
        settings.write_all(b"synchronous_standby_names = ''\n").expect("its settings can be written");
        let standby = standby.first_run().await;
        self.wait_for_standby().await;
        standby
    }

    async fn wait_for_standby(&self) {
        let url = self.url("postgres");
        execute(&url, "alter system set synchronous_standby_names = '*'").await.expect("a superuser may");
        execute(&url, "select pg_reload_conf()").await.expect("a superuser may");
        let mut connection = PgConnection::connect(&url).await.expect("the primary takes connections");
        eventually("the standby is synchronous", SOON, async || {
            let sync =
                "select exists (select from pg_stat_replication where sync_state = 'sync' and state = 'streaming')";
            let sync: bool = sqlx::query_scalar(sync).fetch_one(&mut connection).await.ok()?;
            sync.then_some(())
        })
        .await;
        // A commit that waits has all those before it on the standby, too.
        execute(&url, "select pg_logical_emit_message(true, 'stage', 'synchronous')")
            .await
            .expect("the standby answers");
    }

    /// Makes a standby the primary.
    pub async fn promote(&self) {
        let url = self.url("postgres");
        execute(&url, "select pg_promote(wait => false)").await.expect("a standby can be promoted");
        eventually("the standby is promoted", SOON, async || {
            let mut connection = PgConnection::connect(&url).await.ok()?;
            let standby: bool =
                sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(&mut connection).await.ok()?;
            (!standby).then_some(())
        })
        .await;
    }

    fn prepared(
        parent: &Path,
        environment: Vec<(String, String)>,
        password: String,
        settings: Vec<(String, String)>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("scanfence-pg.").tempdir_in(parent).expect("a temporary folder");
        let postgres = Self {
            server: None,
            programs: programs::folder(),
            port: free_port(),
            password,
            settings,
            environment,
            log: NamedTempFile::new().expect("a temporary file"),
            _guard: Guard::over_postgres(folder.path()),
            folder,
        };
        let folder = postgres.folder.path();
        // The server may run as another user, who needs access.
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).expect("the folder is ours");
        std::fs::write(folder.join("password"), &postgres.password).expect("the folder is ours");
        programs::own(&folder.join("password"));
        std::fs::create_dir(postgres.data()).expect("the folder is ours");
        std::fs::set_permissions(postgres.data(), PermissionsExt::from_mode(0o700)).expect("the folder is ours");
        programs::own(&postgres.data());
        postgres
    }

    async fn first_run(mut self) -> Self {
        for _ in 0..5 {
            if self.run().await {
                return self;
            }
            // Probably another process has taken the port.
            self.port = free_port();
        }
        panic!("PostgreSQL did not start:\n{}", tail(&self.log()));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The URL of one of its databases; `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://scanfence:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// How many sessions hold a transaction open without doing anything in it.
    pub async fn idle_in_transaction(&self) -> i64 {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("it takes connections");
        let sessions = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
        sqlx::query_scalar(sessions).fetch_one(&mut connection).await.expect("sessions can be counted")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Ends every session and transaction, stops, and starts again on the same port.
    pub async fn restart_fast(&mut self) {
        let mut server = self.server.take().expect("it runs");
        guard::signal(guard::pid_of(&server), Signal::INT);
        eventually("PostgreSQL stops", SOON, async || server.try_wait().expect("it is ours")).await;
        self.start_again().await;
    }

    /// Kills all its processes at once, as a crash of the machine would (but for the disk,
    /// whose cache survives).
    pub async fn kill9(&mut self) {
        let mut server = self.server.take().expect("it runs");
        let postmaster = guard::pid_of(&server);
        // Stopped first, so that none starts or ends another meanwhile.
        let children = stop_all(postmaster);
        for pid in children.iter().copied().chain([postmaster]) {
            guard::signal(pid, Signal::KILL);
        }
        server.wait().expect("it is ours");
        eventually("PostgreSQL's processes end", SOON, async || {
            children.iter().all(|&pid| !guard::runs(pid)).then_some(())
        })
        .await;
    }

    /// Starts on the same port, after [`Postgres::kill9`]; recovers from its log first.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs already");
        assert!(self.run().await, "PostgreSQL did not start again:\n{}", tail(&self.log()));
    }

    /// Starts it if it has ended by itself, as on a full disk, and waits until it answers.
    pub async fn revive(&mut self) {
        let mut server = self.server.take().expect("it was started");
        let url = self.url("postgres");
        let ended = eventually("PostgreSQL answers, or has ended", SOON, async || {
            match server.try_wait().expect("it is ours") {
                Some(_) => Some(true),
                None => execute(&url, "select 1").await.is_ok().then_some(false),
            }
        })
        .await;
        if ended {
            self.start_again().await;
        } else {
            self.server = Some(server);
        }
    }

    /// Stops all its processes (SIGSTOP): connections stay open, and nothing answers.
    pub fn pause(&self) {
        stop_all(self.postmaster());
    }

    /// Lets them go on.
    pub fn resume(&self) {
        resume_all(self.postmaster());
    }

    fn postmaster(&self) -> rustix::process::Pid {
        guard::pid_of(self.server.as_ref().expect("it runs"))
    }

    fn init(&self) {
        let made = self
            .command("initdb")
            .args(["--username=scanfence", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
            // There is no data yet. The server itself syncs what it acknowledges.
            .args(["--no-sync", "--no-instructions", "--pwfile"])
            .arg(self.folder.path().join("password"))
            .arg("--pgdata")
            .arg(self.data())
            .output()
            .expect("initdb can be run");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// Starts the server and waits until it answers; false if it ended instead.
    async fn run(&mut self) -> bool {
        let log = std::fs::OpenOptions::new().append(true).open(self.log.path()).expect("the log is ours");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        command.args(["-h", "127.0.0.1", "-c", "unix_socket_directories="]).args(["-p", &self.port.to_string()]);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let mut server = command.spawn().expect("postgres can be run");
        let url = self.url("postgres");
        let answers = eventually("PostgreSQL answers", SOON, async || {
            if server.try_wait().expect("it is ours").is_some() {
                return Some(false);
            }
            execute(&url, "select 1").await.is_ok().then_some(true)
        })
        .await;
        if answers {
            self.server = Some(server);
        }
        answers
    }

    /// One of PostgreSQL's programs; it refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/").stdin(Stdio::null()).env_clear().process_group(0);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some((user, group)) = programs::user() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let postmaster = guard::pid_of(&server);
        resume_all(postmaster);
        // On QUIT it ends its children at once and frees its shared memory.
        guard::signal(postmaster, Signal::QUIT);
        let _ = server.wait();
        if std::thread::panicking() {
            eprintln!("--- PostgreSQL's log\n{}", tail(&self.log()));
        }
    }
}

/// Stops the postmaster, then its children, and returns the children.
fn stop_all(postmaster: rustix::process::Pid) -> Vec<rustix::process::Pid> {
    guard::signal(postmaster, Signal::STOP);
    let children = guard::children_of(postmaster);
    for &pid in &children {
        guard::signal(pid, Signal::STOP);
    }
    children
}

fn resume_all(postmaster: rustix::process::Pid) {
    for pid in guard::children_of(postmaster).into_iter().chain([postmaster]) {
        guard::signal(pid, Signal::CONT);
    }
}
