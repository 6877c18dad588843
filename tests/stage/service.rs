//! The service itself: the built program, as a process with a port of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::guard::{self, Guard};
use super::{SOON, eventually, tail};

/// What to start: settings by the names of their environment variables.
///
/// It gets only these variables, and none of the test's own environment.
#[derive(Clone, Debug)]
pub struct Setup {
    settings: Vec<(String, String)>,
}

impl Setup {
    /// The embedded deployment, in this data folder.
    pub fn embedded(data: &Path) -> Self {
        Self::bare().set("SCANFENCE_DATA", data.to_str().expect("temporary folders have plain names"))
    }

    /// The shared deployment on this database, rows alone unless [`Setup::redis`] follows.
    pub fn shared(database_url: &str) -> Self {
        Self::bare().set("DATABASE_URL", database_url)
    }

    /// Leases by this Redis.
    #[must_use]
    pub fn redis(self, url: &str) -> Self {
        self.set("REDIS_URL", url)
    }

    /// Sets one more setting, or another value for it.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(set, _)| set != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bare() -> Self {
        // A test reads the log, so it has no colours.
        let settings = Self { settings: Vec::new() };
        settings.set("SCANFENCE_LISTEN", "127.0.0.1:0").set("SCANFENCE_LOG_FORMAT", "json").set("RUST_LOG", "info")
    }

    /// Starts it and waits until it is ready to count.
    pub async fn start(&self) -> Service {
        let mut service = self.launch().await;
        service.ready(SOON).await;
        service
    }

    /// Starts it and waits only until it listens.
    pub async fn launch(&self) -> Service {
        let mut service = self.spawn();
        let address = eventually("the service listens", SOON, async || {
            if let Some(code) = service.ended() {
                panic!("it ended with {code:?} instead of listening:\n{}", tail(&service.log()));
            }
            service.lines().iter().find_map(|line| address_in(line))
        })
        .await;
        service.address = Some(address);
        service
    }

    /// Starts it although it should refuse to, and returns its exit code and log.
    pub async fn refusal(&self) -> (Option<i32>, String) {
        let mut service = self.spawn();
        let code = eventually("the service refuses to start", SOON, async || service.ended()).await;
        (code, service.log())
    }

    /// Runs a command of the program with these settings, to its end.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().envs(self.settings.iter().map(|(name, value)| (name, value)));
        let ended = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
        ended.await.expect("it does not panic").expect("the program is built")
    }

    /// Starts it, and waits for nothing.
    pub fn spawn(&self) -> Service {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut process = Command::new(program())
            .arg("serve")
            .current_dir(home.path())
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let lines = Arc::default();
        let reader = read(process.stderr.take().expect("it is piped"), Arc::clone(&lines));
        let guard = Guard::over_process(guard::pid_of(&process));
        Service { process, address: None, lines, reader, _home: home, _guard: guard }
    }
}

/// A running service; killed when dropped.
#[derive(Debug)]
pub struct Service {
    process: Child,
    address: Option<SocketAddr>,
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
    /// The folder that it would use for its data without a setting.
    _home: TempDir,
    _guard: Guard,
}

impl Service {
    /// Its URL, without a slash at its end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it listens")
    }

    /// A client for it, with connections of its own.
    pub fn client(&self) -> Client {
        Client::new(&self.base_url())
    }

    /// Waits until a scan can be counted.
    pub async fn ready(&mut self, within: Duration) {
        let client = self.client();
        eventually("the service is ready", within, async || {
            if let Some(code) = self.ended() {
                panic!("it ended with {code:?} instead of getting ready:\n{}", tail(&self.log()));
            }
            let reply = client.request("GET", "/readyz", &[], "").await.ok()?;
            reply.status.is_success().then_some(())
        })
        .await;
    }

    /// Where it listens, once it does.
    pub fn listens(&mut self) -> Option<SocketAddr> {
        if self.address.is_none() {
            let address = self.lines().iter().find_map(|line| address_in(line));
            self.address = address;
        }
        self.address
    }

    /// How many files and sockets it has open now.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("it runs, and is ours").count()
    }

    /// How much memory it holds now, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        held.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.lines().join("\n")
    }

    /// The lines of its log so far that say this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.lines();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub fn kill9(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }

    /// Asks it to stop (SIGTERM), and does not wait.
    pub fn ask_to_stop(&self) {
        guard::signal(guard::pid_of(&self.process), Signal::TERM);
    }

    /// Asks it to stop and waits until it has; its exit code.
    pub async fn terminate(&mut self, within: Duration) -> Option<i32> {
        self.ask_to_stop();
        self.end(within).await
    }

    /// Waits until it has ended by itself; its exit code, none where a signal ended it.
    pub async fn end(&mut self, within: Duration) -> Option<i32> {
        eventually("the service ends", within, async || self.ended()).await
    }

    /// Pauses it (SIGSTOP).
    pub fn pause(&self) {
        guard::signal(guard::pid_of(&self.process), Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        guard::signal(guard::pid_of(&self.process), Signal::CONT);
    }

    /// Its exit code, once it has ended and all of its log is read.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.process.try_wait().expect("it is ours")?;
        self.reader.is_finished().then(|| status.code())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the log of the service at {:?}\n{}", self.address, tail(&self.log()));
        }
    }
}

/// The program under test: the one of `SCANFENCE_BIN`, in a whole `./test` the release build, or
/// the one that cargo has built for the tests.
pub fn program() -> PathBuf {
    std::env::var_os("SCANFENCE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_scanfence").into(), PathBuf::from)
}

/// Collects the log, so that the service never waits for a reader. The thread ends with it.
fn read(log: ChildStderr, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

/// The address in the line by which the service says where it listens.
fn address_in(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "listening" {
        return None;
    }
    line["address"].as_str()?.parse().ok()
}
