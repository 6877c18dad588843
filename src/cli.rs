//! The command line: its commands and options (contract, section 9).

mod alarms;
mod consistency;
mod output;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;
use tracing::error;

use self::output::{FAILED, Output, WRONG_USAGE, print, wrong_usage};
use crate::app::{self, Failure};
use crate::config::{self, Config, Given, Setting, Settings};
use crate::demo::words::Language;
use crate::demo::{self, Options};
use crate::telemetry;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let output =
        if matches.get_one::<String>("output").is_some_and(|o| o == "json") { Output::Json } else { Output::Text };
    match matches.subcommand() {
        Some(("version", _)) => return print_version(output),
        Some(("demo", asked)) => return run_demo(asked, output),
        _ => {}
    }
    let settings = match Settings::gather(&matches) {
        Ok(settings) => settings,
        Err(problem) => return wrong_usage(&problem),
    };
    let config = match settings.read() {
        Ok(config) => config,
        Err(problem) => return wrong_usage(&problem),
    };
    match matches.subcommand() {
        Some(("config", _)) => print_config(&settings, output),
        Some(("migrate", _)) => with_runtime(&config, async |config| {
            app::migrate(config.deployment).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Some(("check", asked)) => match consistency::CheckAsk::of(asked) {
            Ok(asked) => {
                with_runtime(&config, async |config| consistency::check(config.deployment, asked, output).await)
            }
            Err(problem) => wrong_usage(&problem),
        },
        Some(("repair", asked)) => {
            let asked = consistency::repair_ask(asked);
            with_runtime(&config, async |config| consistency::repair(config.deployment, asked, output).await)
        }
        Some(("alarms", asked)) => match asked.subcommand() {
            Some((_, test)) => {
                let channel = alarms::channel_of(test);
                with_runtime(&config, async |config| alarms::test(config, &channel, output).await)
            }
            None => with_runtime(&config, async |config| alarms::show(config, output).await),
        },
        _ => with_runtime(&config, async |config| {
            app::serve(config).await?;
            Ok(ExitCode::SUCCESS)
        }),
    }
}

fn command() -> Command {
    Command::new("scanfence")
        .about("Counts shop-floor scans exactly once")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(config::flags())
        .after_help(config::FORMS)
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FORMAT")
                .value_parser(["text", "json"])
                .default_value("text")
                .global(true)
                .help("how data is printed on stdout"),
        )
        .subcommand(
            Command::new("serve").about("Runs the service; with the embedded database if DATABASE_URL is not set"),
        )
        .subcommand(Command::new("migrate").about("Creates or updates the tables of the database, then exits"))
        .subcommand(consistency::check_command())
        .subcommand(consistency::repair_command())
        .subcommand(alarms::command())
        .subcommand(
            Command::new("config").about("Prints all settings in force and where each comes from; secrets are hidden"),
        )
        .subcommand(
            Command::new("demo")
                .about("Shows for a minute that parts are counted exactly once over a bad network")
                .arg(
                    Arg::new("seconds")
                        .long("seconds")
                        .value_name("N")
                        .value_parser(value_parser!(u64).range(1..=3600))
                        .default_value("60")
                        .help("how long parts are made, in seconds, 1 to 3600"),
                )
                .arg(Arg::new("seed").long("seed").value_name("N").value_parser(value_parser!(u64)).help(
                    "number that random faults start from; the same number repeats the same faults; if not set: random",
                )),
        )
        .subcommand(Command::new("version").about("Prints the version"))
}

fn with_runtime(config: &Config, work: impl AsyncFnOnce(Config) -> Result<ExitCode, Failure>) -> ExitCode {
    if let Err(problem) = telemetry::start_log(config.log_format, &config.log_filter) {
        return wrong_usage(&format_args!("the log can't be started (log-filter, RUST_LOG): {problem}"));
    }
    match block_on(work(config.clone())) {
        Ok(Ok(code)) => code,
        Ok(Err(problem)) => {
            let cause = Some(telemetry::causes(&problem)).filter(|causes| !causes.is_empty());
            error!(cause, "{problem}");
            ExitCode::from(if problem.is_wrong_usage() { WRONG_USAGE } else { FAILED })
        }
        Err(problem) => {
            error!(cause = %problem, "the program can't start its threads; nothing is counted; check the limits of this machine");
            ExitCode::from(FAILED)
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads()).enable_all().build()?;
    let ended = runtime.block_on(work);
    // A task may still wait for a server that does not answer. It must not keep the process.
    runtime.shutdown_background();
    Ok(ended)
}

/// One thread for every two processors. The database needs the others: SQLite's thread, or a
/// PostgreSQL on the same machine. More threads only take time from each other (bench/README.md,
/// "Threads").
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

/// Runs the demo. It has no log, because log lines would destroy the picture on the screen.
fn run_demo(asked: &ArgMatches, output: Output) -> ExitCode {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = env("LC_ALL").or_else(|| env("LC_MESSAGES")).or_else(|| env("LANG")).unwrap_or_default();
    let colour = env("NO_COLOR").is_none() && env("TERM").is_none_or(|term| term != "dumb");
    let options = Options {
        time: Duration::from_secs(asked.get_one("seconds").copied().unwrap_or(60)),
        seed: asked.get_one("seed").copied().unwrap_or_else(|| u64::from(rand::random::<u16>())),
        folder: std::env::temp_dir(),
        language: Language::of_locale(&locale),
        colour,
    };
    let problem = match block_on(demo::run(options)) {
        Ok(Ok(report)) => {
            let printed = print(match output {
                Output::Text => report.text(colour && std::io::stdout().is_terminal()),
                Output::Json => report.json().to_string(),
            });
            return if report.holds() { printed } else { ExitCode::from(FAILED) };
        }
        Ok(Err(problem)) => match telemetry::causes(&problem) {
            causes if causes.is_empty() => problem.to_string(),
            causes => format!("{problem}: {causes}"),
        },
        Err(problem) => problem.to_string(),
    };
    eprintln!("scanfence: {problem}");
    ExitCode::from(FAILED)
}

fn print_version(output: Output) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    print(match output {
        Output::Text => format!("scanfence {version}"),
        Output::Json => json!({"name": "scanfence", "version": version}).to_string(),
    })
}

fn print_config(settings: &Settings, output: Output) -> ExitCode {
    let shown = settings.shown();
    print(match output {
        Output::Text => {
            let lines: Vec<String> = shown
                .into_iter()
                .map(|(setting, given)| {
                    let (value, source) = match given {
                        Some(given) => (given.value, given.source.to_string()),
                        None => ("-".to_owned(), "not set".to_owned()),
                    };
                    format!("{:<21} {:<32} {:<12} {}", setting.name, value, source, setting.env)
                })
                .collect();
            lines.join("\n")
        }
        Output::Json => {
            let entry = |(setting, given): (&Setting, Option<Given>)| {
                let (value, source) = given.map(|given| (given.value, given.source)).unzip();
                let entry = json!({"value": value, "source": source, "environment": setting.env});
                (setting.name.replace('-', "_"), entry)
            };
            serde_json::Value::Object(shown.into_iter().map(entry).collect()).to_string()
        }
    })
}
