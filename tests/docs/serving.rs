//! A service that a page starts by commands of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

use crate::fixture::{REPLICAS, path};
use crate::stage::client::Client;
use crate::stage::guard::{self, Guard};
use crate::stage::{SOON, eventually, free_port};

/// A running service; killed when dropped.
pub struct Serving {
    process: Child,
    _guard: Guard,
    base: String,
}

impl Serving {
    /// Runs a script that ends in a service, and waits until that is ready to count.
    pub async fn start(script: &str, programs: &Path, home: &Path) -> Self {
        let place = REPLICAS.iter().map(|base| base.trim_start_matches("http://"));
        let place = place.into_iter().find(|place| script.contains(place)).expect("it listens where the pages say");
        let listen = format!("127.0.0.1:{}", free_port());
        let log = NamedTempFile::new().expect("a temporary file");
        let mut process = Command::new("bash")
            .args(["-c", &script.replace(place, &listen)])
            .env_clear()
            .env("PATH", path(programs))
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("the file is ours"))
            .spawn()
            .expect("there is bash");
        let guard = Guard::over_process(guard::pid_of(&process));
        let base = format!("http://{listen}");
        eventually("the service of the page is ready", SOON, async || {
            let told = || std::fs::read_to_string(log.path()).unwrap_or_default();
            assert!(process.try_wait().expect("it is ours").is_none(), "it has ended: {script}\n{}", told());
            let reply = Client::new(&base).request("GET", "/readyz", &[], "").await.ok()?;
            reply.status.is_success().then_some(())
        })
        .await;
        Self { process, _guard: guard, base }
    }

    /// A client for it.
    pub fn client(&self) -> Client {
        Client::new(&self.base)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
