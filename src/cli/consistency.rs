//! `scanfence check` and `scanfence repair`.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::output::{DRIFT, FAILED, Output, print};
use crate::app::{self, Failure};
use crate::config::Deployment;
use crate::domain::consistency::{Check, CheckState, Finding, Range};
use crate::domain::time::Timestamp;
use crate::monitor::accepted;
use crate::monitor::repair::{NotRepaired, RepairAsk, Repaired};
use crate::monitor::{Monitor, Report, Step};

/// The principal of commands.
const PRINCIPAL: &str = "command";
/// How often the progress of a check in another process is read.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(200);

/// What `scanfence check` must check.
#[derive(Debug)]
pub(super) struct CheckAsk {
    range: Range,
    work_order: Option<String>,
    since: Option<Timestamp>,
}

pub(super) fn check_command() -> Command {
    Command::new("check")
        .about("Checks every quantity against the log; the service may run meanwhile")
        .arg(Arg::new("work-order").long("work-order").value_name("NUMBER").help("check only this work order"))
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("TIME")
                .help("check only work orders that changed since this time (RFC 3339)"),
        )
        .arg(Arg::new("full").long("full").action(ArgAction::SetTrue).help("check all work orders"))
        .group(ArgGroup::new("range").args(["work-order", "since", "full"]))
        .after_help(
            "If no range is given: the work orders that changed since the last good check.\n\
             Exit code: 0 good, 1 failed, 2 wrong usage, 3 drift found.",
        )
}

pub(super) fn repair_command() -> Command {
    Command::new("repair")
        .about("Repairs a finding from the log, or accepts it; the service may run meanwhile")
        .arg(
            Arg::new("finding")
                .long("finding")
                .value_name("ID")
                .required(true)
                .help("id of the finding, as `scanfence check` shows it"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("show what would change, and change nothing"),
        )
        .arg(
            Arg::new("accept")
                .long("accept")
                .action(ArgAction::SetTrue)
                .requires("reason")
                .help("accept the log as it is, if the log can't show the right value; this is your decision"),
        )
        .arg(
            Arg::new("reason")
                .long("reason")
                .value_name("TEXT")
                .default_value("repaired on the command line")
                .help("the reason, for the audit trail"),
        )
        .arg(
            Arg::new("operator")
                .long("operator")
                .value_name("NAME")
                .help("who repairs, for the audit trail; if not set: the user name of the system"),
        )
        .arg(
            Arg::new("request-id")
                .long("request-id")
                .value_name("KEY")
                .help("id of this repair; a retry with the same id repairs nothing twice; if not set: a new id"),
        )
        .after_help("Exit code: 0 repaired or accepted, 1 failed, 2 wrong usage, 3 a person has to decide.")
}

impl CheckAsk {
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, String> {
        let work_order = matches.get_one::<String>("work-order").cloned();
        let since = matches.get_one::<String>("since");
        let since = since.map(|text| Timestamp::parse(text)).transpose().map_err(|error| format!("--since {error}"))?;
        let range = match (matches.get_flag("full"), &work_order, since) {
            (true, ..) => Range::Full,
            (false, Some(_), _) => Range::WorkOrder,
            (false, None, Some(_)) => Range::Since,
            (false, None, None) => Range::Recent,
        };
        Ok(Self { range, work_order, since })
    }
}

/// Requests a check and waits for its end. The command runs it if the service does not.
pub(super) async fn check(deployment: Deployment, asked: CheckAsk, output: Output) -> Result<ExitCode, Failure> {
    let monitor = app::monitor(&deployment).await?;
    let CheckAsk { range, work_order, since } = asked;
    let check = monitor.ask(range, work_order, since, PRINCIPAL).await?;
    see_through(&monitor, &check.check_id).await?;
    let report = monitor.report(&check.check_id).await?;
    let report = report.ok_or_else(|| crate::store::StoreError::Refused("the report of the check is gone".into()))?;
    let printed = print(match output {
        Output::Json => serde_json::to_string(&report).expect("our own types have text keys"),
        Output::Text => text(&report),
    });
    Ok(match report.check.state {
        CheckState::Good => printed,
        CheckState::Drift => ExitCode::from(DRIFT),
        CheckState::Waiting | CheckState::Running | CheckState::Failed => ExitCode::from(FAILED),
    })
}

async fn see_through(monitor: &Monitor, check_id: &str) -> Result<(), Failure> {
    let bar = progress_bar();
    let show = |check: &Check| {
        bar.set_length(check.work_orders_total.unwrap_or(0).unsigned_abs());
        bar.set_position(check.work_orders_read.unsigned_abs());
        bar.set_message(format!("{} rows", check.rows_read));
    };
    // If the command is stopped, the service or the next command continues the check.
    let stop = CancellationToken::new();
    while let Some(check) = monitor.store().check(check_id).await? {
        show(&check);
        if check.state.is_over() {
            break;
        }
        match monitor.run_check(&check, &stop, &show).await? {
            Step::Ended(_) | Step::Idle => {}
            Step::Elsewhere | Step::Left => tokio::time::sleep(LOOKED_AT_EVERY).await,
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// The progress: work orders that were read. It is hidden if stderr is not a terminal.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} work orders, {msg}, {elapsed}");
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn text(report: &Report) -> String {
    let check = &report.check;
    let mut lines = vec![format!(
        "{}: range {}, {} work orders, {} rows, {} findings, {} ms (check {})",
        check.state.word(),
        check.range.word(),
        check.work_orders_read,
        check.rows_read,
        check.findings_seen,
        report.duration_ms.unwrap_or(0),
        check.check_id
    )];
    lines.extend(check.error.iter().map(|error| format!("failed: {error}")));
    if !report.findings.is_empty() {
        let head = ["work order", "kind", "counter", "seq", "expected", "actual", "remedy", "finding"];
        lines.extend(table(head, report.findings.iter().map(row)));
    }
    lines.join("\n")
}

fn row(finding: &Finding) -> [String; 8] {
    [
        finding.work_order.clone(),
        finding.kind.word().to_owned(),
        finding.counter.map_or("-", |counter| counter.word()).to_owned(),
        finding.seq.map_or("-".to_owned(), |seq| seq.to_string()),
        shown(&finding.expected),
        shown(&finding.actual),
        finding.remedy.word().to_owned(),
        finding.finding_id.clone(),
    ]
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let widths: [usize; N] =
        std::array::from_fn(|at| all.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

pub(super) fn repair_ask(matches: &ArgMatches) -> RepairAsk {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    RepairAsk {
        request_id: given("request-id").unwrap_or_else(|| Uuid::now_v7().to_string()),
        finding_id: given("finding").unwrap_or_default(),
        dry_run: matches.get_flag("dry-run"),
        accept: matches.get_flag("accept"),
        reason: given("reason").unwrap_or_default(),
        operator: given("operator").or_else(|| std::env::var("USER").ok()).filter(|name| !name.is_empty()),
        principal: PRINCIPAL.to_owned(),
    }
}

/// Repairs what a finding names, or shows what would change.
pub(super) async fn repair(deployment: Deployment, ask: RepairAsk, output: Output) -> Result<ExitCode, Failure> {
    let monitor = app::monitor(&deployment).await?;
    match monitor.repair(&ask).await {
        Ok(repaired) => Ok(print(match output {
            Output::Json => serde_json::to_string(&repaired).expect("our own types have text keys"),
            Output::Text => repaired_text(&repaired),
        })),
        Err(NotRepaired::DecisionNeeded(finding)) => {
            eprintln!(
                "scanfence: nothing was repaired: the log can't show the right value. Compare the finding below with \
                 the parts on the floor. To accept the log as it is, run repair with --accept and --reason."
            );
            let shown = match output {
                Output::Json => serde_json::to_string(&finding),
                Output::Text => serde_json::to_string_pretty(&finding),
            };
            print(shown.expect("our own types have text keys"));
            Ok(ExitCode::from(DRIFT))
        }
        Err(problem) => Err(problem.into()),
    }
}

fn repaired_text(repaired: &Repaired) -> String {
    let Repaired { entry, dry_run, replayed } = repaired;
    let done = if entry.action == accepted::ACTION { "accepted" } else { "repaired" };
    let what = match (dry_run, replayed) {
        (true, _) => format!("would be {done}"),
        (false, true) => format!("was already {done} under this request id"),
        (false, false) => done.to_owned(),
    };
    let work_order = entry.work_order.as_deref().unwrap_or("-");
    format!(
        "work order {work_order} {what} (request id {})\nbefore  {}\nafter   {}",
        entry.request_id, entry.before, entry.after
    )
}
