//! What a page's commands run against: a service of the page's own, and what its text takes for granted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::pages::Block;
use crate::serving::Serving;
use crate::stage::postgres::Database;
use crate::stage::receivers::{GOOD, WebReceiver};
use crate::stage::service::{Service, Setup, program};
use crate::stage::{SOON, eventually, redis_url};

/// Where the pages find the service, and the replicas behind the load balancer.
pub const SERVICE: &str = "http://127.0.0.1:8080";
pub const REPLICAS: [&str; 2] = ["http://127.0.0.1:8081", "http://127.0.0.1:8082"];

/// What a page takes for granted from a command on.
#[derive(Clone, Copy, Debug)]
pub enum Scene {
    /// A scan of a part was refused: the part was counted before.
    Refused,
    /// Three work orders with 14 rows in the log.
    Floor,
    /// The same, and somebody has changed a quantity from 276 to 281 by hand.
    WrongQuantity,
    /// Somebody has deleted a row of the log by hand.
    MissingRow,
    /// The alarm channels that the page has shown so far, with a receiver for the first one.
    Channels,
    /// The same, and a work order with a wrong quantity, of which people were told.
    Alarmed,
}

/// Which scene is set before the first of a page's commands that begins so.
pub const SCENES: &[(&str, &str, Scene)] = &[
    ("operate", "sudo journalctl -u scanfence -o cat -n 1", Scene::Refused),
    ("operate", "scanfence check --work-order P202502241740363143817", Scene::Floor),
    ("operate", "scanfence check --full", Scene::WrongQuantity),
    ("operate", "scanfence check --work-order P202502241740363143818", Scene::MissingRow),
    ("backup", "sudo systemctl stop scanfence", Scene::Floor),
    ("alarms", "sudo SCANFENCE_ALARM_CHANNELS_FILE", Scene::Channels),
    ("alarms", "sudo SCANFENCE_DATA", Scene::Alarmed),
];

/// The service of a page, with its data, and programs that stand in for others.
pub struct Fixture {
    /// The program, and what stands in for `sudo` and `docker`, as a folder for PATH.
    programs: TempDir,
    /// Where commands run.
    home: TempDir,
    data: TempDir,
    service: Service,
    channels: Option<PathBuf>,
    receiver: Option<WebReceiver>,
    database: Option<Database>,
    replicas: Vec<Serving>,
}

impl Fixture {
    /// An embedded service that has counted nothing yet.
    pub async fn new() -> Self {
        Self::with(tempfile::tempdir().expect("a temporary folder"), None, None).await
    }

    async fn with(home: TempDir, channels: Option<PathBuf>, receiver: Option<WebReceiver>) -> Self {
        let (programs, data) = (tempfile::tempdir(), tempfile::tempdir());
        let (programs, data) = (programs.expect("a temporary folder"), data.expect("a temporary folder"));
        std::os::unix::fs::symlink(program(), programs.path().join("scanfence")).expect("the folder is ours");
        // The user of the tests may do all that is to be done here.
        put_program(programs.path(), "sudo", "exec env \"$@\"");
        put_program(programs.path(), "docker", "[ \"$1 $2\" = 'compose exec' ] && shift 3 && exec \"$@\"");
        let service = setup(&data, channels.as_deref()).start().await;
        Self { programs, home, data, service, channels, receiver, database: None, replicas: Vec::new() }
    }

    /// Sets a scene; `shown` is what the page has shown so far.
    pub async fn set(&mut self, scene: Scene, shown: &[Block], chinese: bool) {
        match scene {
            Scene::Refused => self.refuse_a_scan().await,
            Scene::Floor => {
                *self = Self::new().await;
                self.floor().await;
            }
            Scene::WrongQuantity => {
                *self = Self::new().await;
                self.floor().await;
                self.change_a_quantity().await;
            }
            Scene::MissingRow => {
                self.sql("delete from update_log where work_order = 'P202502241740363143818' and seq = 2").await;
            }
            Scene::Channels => *self = Self::with_channels(shown, chinese).await,
            Scene::Alarmed => {
                *self = Self::with_channels(shown, chinese).await;
                self.floor().await;
                self.change_a_quantity().await;
                self.run("scanfence check --full").await;
                eventually("people are told of the alarm", SOON, async || {
                    let alarms = self.run("scanfence alarms").await;
                    let alarms = String::from_utf8(alarms.stdout).expect("it is UTF-8");
                    let told = |line: &str| line.starts_with("line-leads ") && line.ends_with("Z  good");
                    (alarms.contains("drift") && alarms.lines().any(told)).then_some(())
                })
                .await;
            }
        }
    }

    async fn refuse_a_scan(&self) {
        let client = self.service.client();
        let number = "P202502241740363143817";
        client.put_work_order(number, &json!({"planned_quantity": 500})).await;
        let scan = json!({"counter": "input", "barcode": "WA2080ZWJ0926", "step": "P010", "station": "L3-T2",
            "operator": "E1024"});
        for (key, status) in
            [("0192f0c1-6a3e-7c52-9d01-3b7a52c41e01", 201), ("0192f0c1-6a3e-7c52-9d01-3b7a52c41e02", 409)]
        {
            assert_eq!(client.scan(number, key, &scan).await.status.as_u16(), status);
        }
    }

    /// 10, 3 and 1 rows of three work orders; the first of them has 276 pieces.
    async fn floor(&self) {
        let client = self.service.client();
        for (end, pieces) in [("817", &[30; 9][..]), ("817", &[6]), ("818", &[1; 3]), ("819", &[1])] {
            let number = format!("P202502241740363143{end}");
            client.put_work_order(&number, &json!({"planned_quantity": 500})).await;
            for (at, quantity) in pieces.iter().enumerate() {
                let key = format!("{number}-{quantity}-{at}");
                let reply = client.scan(&number, &key, &json!({"counter": "input", "quantity": quantity})).await;
                assert_eq!(reply.status.as_u16(), 201, "{reply:?}");
            }
        }
    }

    async fn change_a_quantity(&self) {
        self.sql("update work_orders set input_quantity = 281 where work_order = 'P202502241740363143817'").await;
    }

    /// A service with the channels that the page shows: secrets are made up, and the messages of the
    /// first go to a receiver of the test's own, in the language of the page.
    async fn with_channels(shown: &[Block], chinese: bool) -> Self {
        let receiver = WebReceiver::start(GOOD).await;
        let toml = usable(&toml(shown), &receiver.url());
        let toml = if chinese { toml } else { toml.replace("language = \"zh-CN\"", "language = \"en\"") };
        let home = tempfile::tempdir().expect("a temporary folder");
        let file = home.path().join("alarms.toml");
        std::fs::write(&file, toml).expect("the folder is ours");
        Self::with(home, Some(file), Some(receiver)).await
    }

    /// Stops the service as systemd would, and starts it on the same data.
    pub async fn restart(&mut self, stop: bool, start: bool) {
        if stop {
            let code = self.service.terminate(SOON).await;
            assert_eq!(code, Some(0));
        }
        if start {
            self.service = setup(&self.data, self.channels.as_deref()).start().await;
        }
    }

    /// What the receiver of the first channel was sent last.
    pub fn last_message(&self) -> Option<String> {
        let received = self.receiver.as_ref()?.received();
        received.last().map(|received| received.text().to_owned())
    }

    /// Whether the settings of a block are taken by the program.
    pub async fn takes_settings(&self, block: &Block) -> Result<(), String> {
        let file = self.home.path().join("scanfence.toml");
        std::fs::write(&file, usable(&block.text, "https://robots.example/")).expect("the folder is ours");
        let output = self.shell("scanfence --config scanfence.toml config", &[]).await;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    async fn sql(&self, statement: &str) {
        let options = SqliteConnectOptions::new().filename(self.data.path().join("scanfence.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the service has made it");
        let changed = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        assert_eq!(changed.expect("it is SQL").rows_affected(), 1, "{statement}");
    }

    /// The service that a page means by this address; behind the load balancer, a replica.
    pub fn at(&self, base: &str) -> Option<(crate::stage::client::Client, bool)> {
        let replica = REPLICAS.iter().position(|&replica| replica == base);
        match (replica, self.replicas.first()) {
            (Some(at), _) => self.replicas.get(at).map(|replica| (replica.client(), false)),
            (None, Some(first)) if base == SERVICE => Some((first.client(), true)),
            (None, None) if base == SERVICE => Some((self.service.client(), false)),
            (None, _) => None,
        }
    }

    /// Starts a service by a block of commands, which ends with `… serve`, on a database of its own.
    pub async fn serve(&mut self, script: &str) {
        if self.database.is_none() {
            self.database = Some(Database::fresh().await);
        }
        let database = self.database.as_ref().expect("it was made").url();
        let script = script
            .replace("postgres://scanfence:PASSWORD@127.0.0.1:5432/scanfence", database)
            .replace("redis://127.0.0.1:6379/", &redis_url())
            .replace("target/release/scanfence", "exec scanfence");
        self.replicas.push(Serving::start(&script, self.programs.path(), self.home.path()).await);
    }

    /// Runs a command of the program, as it stands on a page, beside the service.
    pub async fn run(&self, command: &str) -> Output {
        let data = self.data.path().to_str().expect("temporary folders have plain names").to_owned();
        // Some commands say themselves where the settings are.
        let says = command.contains("SCANFENCE_DATA=") || command.contains("/etc/scanfence.env");
        let mut settings = if says { Vec::new() } else { vec![("SCANFENCE_DATA", data.clone())] };
        let channels = self.channels.as_ref().map(|file| file.to_str().expect("temporary folders have plain names"));
        let setting = channels.map(|file| ("SCANFENCE_ALARM_CHANNELS_FILE", file.to_owned()));
        settings.extend(setting.filter(|_| !says));
        let environment = self.home.path().join("scanfence.env");
        std::fs::write(&environment, format!("SCANFENCE_DATA={data}\n")).expect("the folder is ours");
        let command = command
            .replace("/var/lib/scanfence", &data)
            .replace("/var/backups", self.home.path().to_str().expect("temporary folders have plain names"))
            .replace("/etc/scanfence.env", environment.to_str().expect("temporary folders have plain names"))
            .replace("/etc/scanfence-alarms.toml", channels.unwrap_or("/etc/scanfence-alarms.toml"))
            .replace("target/release/scanfence", "scanfence");
        self.shell(&command, &settings).await
    }

    async fn shell(&self, command: &str, settings: &[(&str, String)]) -> Output {
        let mut shell = Command::new("timeout");
        shell.args(["60", "bash", "-c", command]).env_clear();
        shell.env("PATH", path(self.programs.path())).env("USER", "E1024").env("SCANFENCE_LOG_FORMAT", "text");
        shell.envs(settings.iter().map(|(name, value)| (name, value)));
        shell.current_dir(self.home.path()).stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || shell.output()).await;
        ended.expect("it does not panic").expect("there are timeout and bash")
    }

    /// The lines of the service's log.
    pub fn log(&self) -> Vec<String> {
        self.service.log().lines().map(str::to_owned).collect()
    }

    /// An output with the addresses and folders that the pages have.
    pub fn as_on_a_page(&self, output: &str) -> String {
        let data = self.data.path().to_str().expect("temporary folders have plain names");
        output.replace(&self.service.base_url(), SERVICE).replace(data, "/var/lib/scanfence")
    }
}

/// What is searched for programs: the test's own come first.
pub fn path(programs: &Path) -> String {
    format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display())
}

fn setup(data: &TempDir, channels: Option<&Path>) -> Setup {
    let setup = Setup::embedded(data.path());
    match channels.map(|file| file.to_str().expect("temporary folders have plain names")) {
        Some(file) => setup.set("SCANFENCE_ALARM_CHANNELS_FILE", file),
        None => setup,
    }
}

fn put_program(folder: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("the folder is ours");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("the file is ours");
}

fn toml(shown: &[Block]) -> String {
    shown.iter().filter(|block| block.language == "toml").map(|block| block.text.as_str()).collect()
}

/// Settings of a page with secrets that are some, and the first DingTalk robot at this URL.
fn usable(toml: &str, robot: &str) -> String {
    const ROBOT: &str = "\"https://oapi.dingtalk.com/robot/send?access_token=TOKEN\"";
    let toml = toml.replace("\"whsec_…\"", "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"");
    toml.replacen(ROBOT, &format!("\"{robot}\"\nallow_private = true"), 1)
}

#[test]
fn settings_of_a_page_are_made_usable() {
    let toml = "url = \"https://oapi.dingtalk.com/robot/send?access_token=TOKEN\"\nsecret = \"whsec_…\"\n";
    let made: toml::Table = usable(toml, "http://127.0.0.1:1/").parse().expect("it is TOML");
    assert_eq!((&made["url"], &made["allow_private"]), (&"http://127.0.0.1:1/".into(), &true.into()));
}
