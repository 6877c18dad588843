//! Commands that are not run here as they stand: each with the reason, and with what is tested of it.

use std::process::{Command, Output};

use crate::pages::root;

/// A command that is not run here as it stands.
#[derive(Debug)]
pub struct Elsewhere {
    /// The whole command.
    pub command: &'static str,
    /// Why.
    pub why: &'static str,
    /// What is tested all the same, besides that bash can read it.
    pub tested: Tested,
}

/// What is tested of a command.
#[derive(Clone, Copy, Debug)]
pub enum Tested {
    /// Nothing more.
    Syntax,
    /// A script of the project: bash can read it, and it knows the options.
    Script(&'static str),
    /// Another program, where it is installed: its help names the options.
    Options(&'static str),
    /// Files of the project are there.
    Files(&'static [&'static str]),
    /// A file of the project has these texts.
    Has(&'static str, &'static [&'static str]),
    /// The program takes these arguments.
    Program(&'static [&'static str]),
    /// The demo's output, told below the command, is that of a shorter run but for its numbers.
    Demo,
    /// The service of the page is stopped and started so.
    Service { stop: bool, start: bool },
    /// The line of the log, told below the command, is in the log of the service.
    Log,
}

const fn row(command: &'static str, why: &'static str, tested: Tested) -> Elsewhere {
    Elsewhere { command, why, tested }
}

const CARGO: &str = "cargo runs these tests, and would wait for itself or build for minutes";
const ROOT: &str = "it changes the system, as root";
const SYSTEMD: &str = "the tests have no systemd of their own";
const LONG: &str = "it runs for minutes";

/// All of them.
pub const ELSEWHERE: &[Elsewhere] = &[
    row("cargo run --release -- serve", CARGO, Tested::Program(&["serve", "--help"])),
    row("cargo run --release -- demo", CARGO, Tested::Demo),
    row("scanfence demo --seconds 10 --seed 7", "its numbers depend on the machine", Tested::Demo),
    row("cargo build --release", CARGO, Tested::Has("Cargo.toml", &["default-run = \"scanfence\""])),
    row("./test", LONG, Tested::Script("test")),
    row("./test no_fault", LONG, Tested::Script("test")),
    row("tests/faults/run --minutes 10", LONG, Tested::Script("tests/faults/run")),
    row("tests/faults/run --minutes 10 --seed 7", LONG, Tested::Script("tests/faults/run")),
    row("bench/run", LONG, Tested::Script("bench/run")),
    row("bench/run --quick", LONG, Tested::Script("bench/run")),
    row("bench/check", LONG, Tested::Script("bench/check")),
    row("sudo install -m 755 target/release/scanfence /usr/local/bin/", ROOT, Tested::Options("install")),
    row(
        "sudo install -m 644 deploy/scanfence.service /etc/systemd/system/",
        ROOT,
        Tested::Has("deploy/scanfence.service", &["ExecStart=/usr/local/bin/scanfence serve", "%S/scanfence"]),
    ),
    row(
        "sudo install -m 600 deploy/scanfence-shared.env /etc/scanfence.env",
        ROOT,
        Tested::Has("deploy/scanfence-shared.env", &["\nDATABASE_URL=", "\nREDIS_URL="]),
    ),
    row(
        "sudo install -m 600 deploy/alarm-channels.toml /etc/scanfence-alarms.toml",
        ROOT,
        Tested::Has("deploy/scanfence.service", &["LoadCredential=alarm-channels:/etc/scanfence-alarms.toml"]),
    ),
    row("sudo apt-get install postgresql redis-server", ROOT, Tested::Has("test", &["postgresql", "redis-server"])),
    row("sudo systemctl daemon-reload", SYSTEMD, Tested::Syntax),
    row(
        "sudo systemctl enable --now scanfence",
        SYSTEMD,
        Tested::Has("deploy/scanfence.service", &["[Install]\nWantedBy=multi-user.target"]),
    ),
    row("sudo systemctl stop scanfence", SYSTEMD, Tested::Service { stop: true, start: false }),
    row("sudo systemctl start scanfence", SYSTEMD, Tested::Service { stop: false, start: true }),
    row("sudo systemctl restart scanfence", SYSTEMD, Tested::Service { stop: true, start: true }),
    row("sudo journalctl -u scanfence -o cat -n 1", SYSTEMD, Tested::Log),
    row("sudo journalctl -u scanfence -o cat --grep '\"alarm\":'", SYSTEMD, Tested::Syntax),
    row("sudo systemctl start redis-server", SYSTEMD, Tested::Syntax),
    row("sudo pg_createcluster 15 main --start", ROOT, Tested::Syntax),
    row("sudo -u postgres createuser --pwprompt scanfence", ROOT, Tested::Options("createuser")),
    row("sudo -u postgres createdb --owner=scanfence scanfence", ROOT, Tested::Options("createdb")),
    row(
        "sudo -u postgres pg_basebackup --pgdata=/var/lib/postgresql/scanfence-backup --checkpoint=fast --wal-method=stream",
        ROOT,
        Tested::Options("pg_basebackup"),
    ),
    row(
        "haproxy -f deploy/haproxy.cfg",
        "HAProxy is not among what ./test installs",
        Tested::Has(
            "deploy/haproxy.cfg",
            &["127.0.0.1:8080}", "127.0.0.1:8081}", "127.0.0.1:8082}", "option forwardfor"],
        ),
    ),
    row(
        "docker compose up --build",
        "the tests have no Docker engine",
        Tested::Files(&["docker-compose.yml", "Dockerfile", "deploy/haproxy.cfg", "deploy/make-passwords"]),
    ),
];

/// The row of a command.
pub fn find(command: &str) -> Option<&'static Elsewhere> {
    ELSEWHERE.iter().find(|row| row.command == command)
}

/// Tests what needs no service.
///
/// # Errors
/// What is not so.
pub fn test(row: &Elsewhere) -> Result<(), String> {
    let missing = |file: &&&str| !root().join(file).exists();
    let tested = match row.tested {
        Tested::Syntax | Tested::Program(_) | Tested::Demo | Tested::Service { .. } | Tested::Log => Ok(()),
        Tested::Script(script) => {
            readable(&["-n", script])?;
            let text = read(script);
            let mut options = row.command.split(' ').filter(|word| word.starts_with("--"));
            options.try_for_each(|option| named(&text, option))
        }
        Tested::Options(program) => {
            let Ok(help) = Command::new(program).arg("--help").output() else { return Ok(()) };
            let text = said(&help);
            let mut options = row.command.split([' ', '=']).filter(|word| word.starts_with('-') && *word != "-u");
            options.try_for_each(|option| named(&text, option))
        }
        Tested::Files(files) => files.iter().find(missing).map_or(Ok(()), |file| Err(format!("there is no {file}"))),
        Tested::Has(file, texts) => texts.iter().try_for_each(|text| named(&read(file), text)),
    };
    tested.and(readable(&["-n", "-c", row.command]))
}

fn named(text: &str, part: &str) -> Result<(), String> {
    if text.contains(part) { Ok(()) } else { Err(format!("{part:?} is not there")) }
}

fn readable(arguments: &[&str]) -> Result<(), String> {
    let bash = Command::new("bash").args(arguments).current_dir(root()).output().expect("there is bash");
    if bash.status.success() { Ok(()) } else { Err(said(&bash)) }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_default()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_is_wrong_with_a_command_that_is_not_run_is_seen() {
    for (command, tested) in [
        ("if then", Tested::Syntax),
        ("./test --unknown-option", Tested::Script("test")),
        ("bench/none", Tested::Script("bench/none")),
        ("install --unknown-option a b", Tested::Options("install")),
        ("cat none", Tested::Files(&["README.md", "none"])),
        ("cat README.md", Tested::Has("README.md", &["Scanfence", "no such text"])),
    ] {
        assert!(test(&row(command, "it is wrong", tested)).is_err(), "{command}");
    }
}
