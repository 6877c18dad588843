//! The demo, as its users run it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod stage;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::service::program;
use stage::{SOON, eventually};

#[tokio::test]
async fn the_demo_counts_every_part_once_over_a_bad_network_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let report = report(demo(folder.path(), &["--seconds", "3", "--seed", "7"]).wait_with_output().unwrap());
    let number = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report:#}"));
    assert_eq!(report["verdict"], true, "{report:#}");
    assert_eq!(number("quantity"), number("parts_made"), "{report:#}");
    assert!(number("parts_made") > 12, "each terminal made some: {report:#}");
    assert!(number("requests_sent") > number("parts_made"), "{report:#}");
    assert!(number("repeats_stopped") > 0, "{report:#}");
    assert!(number("naive_counter") > number("quantity"), "{report:#}");
    let told = number("quantity") + number("repeats_stopped") + number("scanned_twice_refused") + number("put_off");
    assert_eq!(number("requests_reached"), told, "whatever reached it is accounted for: {report:#}");
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_demo_that_is_stopped_early_gives_its_verdict_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let demo = demo(folder.path(), &["--seconds", "600"]);
    eventually("the demo keeps its data", SOON, async || (!left_behind(folder.path()).is_empty()).then_some(())).await;
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let report = report(demo.wait_with_output().unwrap());
    assert_eq!(report["verdict"], true, "{report:#}");
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
}

#[test]
fn the_demo_speaks_the_language_of_its_user_and_uses_none_of_his_settings() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["--seconds", "1"])
        .env("LANG", "zh_CN.UTF-8")
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("每一件都恰好计数一次。\n"), "{text}");
    assert!(!text.contains('\x1b'), "no colours where nobody sees them: {text:?}");
}

fn demo(folder: &Path, args: &[&str]) -> Child {
    command(folder, args).args(["--output", "json"]).spawn().unwrap()
}

/// The demo with its data below `folder`, and with nothing of this test's own environment.
fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("demo").args(args).env_clear().env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn report(output: Output) -> Value {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn left_behind(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
