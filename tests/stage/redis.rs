//! A private Redis for one test: on a free port of 127.0.0.1, in a temporary folder, without
//! persistence, gone when dropped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::free_port;

/// How long a server may take to start, to stop, or to find the other nodes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running redis-server.
pub struct Redis {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    server: Child,
}

impl Redis {
    /// Starts an empty one.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts an empty one with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::start_on(free_port(), arguments)
    }

    /// Starts an empty one on this port.
    pub fn start_on(port: u16, arguments: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server = spawn(port, &folder, &arguments, &[]);
        let redis = Self { port, folder, arguments, environment: Vec::new(), server };
        redis.wait_until_ready();
        redis
    }

    /// Starts an empty one with more arguments and these environment variables, such as those of
    /// a clock.
    pub fn start_by(environment: &[(String, String)], arguments: &[&str]) -> Self {
        let mut redis = Self::start_with(arguments);
        redis.environment = environment.to_vec();
        redis.restart_empty();
        redis
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it and starts an empty one in its place.
    pub fn restart_empty(&mut self) {
        self.kill();
        self.server = spawn(self.port, &self.folder, &self.arguments, &self.environment);
        self.wait_until_ready();
    }

    /// Stops it (SIGSTOP): it hangs, and connections stay open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Kills it, as by a power cut.
    pub fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Asks it something with redis-cli; the answer as text, raw.
    pub fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "--raw"])
            .args(command)
            .output()
            .expect("redis-cli is on the PATH");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Waits until it answers to `command` as wanted.
    pub fn wait_for(&self, command: &[&str], wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(command);
            if wanted(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "{command:?} still answers {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        let done =
            Command::new("kill").args([signal, &self.server.id().to_string()]).status().expect("kill is on the PATH");
        assert!(done.success(), "kill {signal}");
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !answers(self.port) {
            assert!(Instant::now() < deadline, "redis-server does not come up on port {}", self.port);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master, a replica and one sentinel that watches over them as `line`.
pub struct Sentinel {
    /// The first master.
    pub master: Redis,
    /// The one to take its place.
    pub replica: Redis,
    /// The sentinel, which speaks Redis's protocol too.
    pub sentinel: Redis,
}

impl Sentinel {
    /// Starts all three, and waits until the sentinel knows the replica.
    pub fn start() -> Self {
        let master = Redis::start();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
        replica.wait_for(&["INFO", "replication"], |info| info.contains("master_link_status:up"));
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let watch = format!(
            "sentinel monitor line 127.0.0.1 {} 1\nsentinel down-after-milliseconds line 500\n\
             sentinel failover-timeout line 2000\n",
            master.port
        );
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, watch).expect("the folder is ours");
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        let server = spawn(port, &folder, &arguments, &[]);
        let sentinel = Redis { port, folder, arguments, environment: Vec::new(), server };
        sentinel.wait_until_ready();
        sentinel.wait_for(&["SENTINEL", "REPLICAS", "line"], |replicas| {
            replicas.contains("slave-priority") && replicas.contains("master-link-status\nok")
        });
        Self { master, replica, sentinel }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/line", self.sentinel.port)
    }

    /// Kills the master, and waits until the replica is master.
    pub fn fail_over(&mut self) {
        self.master.kill();
        self.replica.wait_for(&["ROLE"], |role| role.starts_with("master"));
    }
}

/// A cluster of three masters.
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts three nodes, and waits until they make a cluster.
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
            })
            .collect();
        for (node, slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            assert_eq!(node.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]), "OK");
        }
        let first = &nodes[0];
        let bus = first.ask(&["CONFIG", "GET", "cluster-port"]);
        let bus = bus.lines().nth(1).expect("the name comes first, then the value");
        for node in &nodes[1..] {
            assert_eq!(node.ask(&["CLUSTER", "MEET", "127.0.0.1", &first.port.to_string(), bus]), "OK");
        }
        for node in &nodes {
            node.wait_for(&["CLUSTER", "INFO"], |info| {
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
        Self { nodes }
    }

    /// Its URL, by two of the nodes.
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", self.nodes[0].port, self.nodes[1].port)
    }
}

fn spawn(port: u16, folder: &TempDir, arguments: &[String], environment: &[(String, String)]) -> Child {
    // A configuration file comes first, where there is one; `--sentinel` last.
    let (files, options): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.ends_with(".conf"));
    Command::new("redis-server")
        .args(files)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .arg("--dir")
        .arg(folder.path())
        .args(["--save", "", "--appendonly", "no", "--logfile", "redis.log"])
        .args(options)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is on the PATH")
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = [0; 5];
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"+PONG"
}
