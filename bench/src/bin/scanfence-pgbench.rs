//! Runs pgbench as one cell, with the same stretches, percentiles and checks as the load
//! generator. The figures come from pgbench's own log of every transaction.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{ChildStderr, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use scanfence_bench::processes::{self, Watched};
use scanfence_bench::results::{Cell, Check, GENERATOR, Latency, Phase, histogram, record};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

#[derive(Debug, Parser)]
#[command(about = "Runs one pgbench script and prints the result as the load generator does")]
struct Args {
    /// The pgbench program
    #[arg(long, default_value = "pgbench")]
    pgbench: PathBuf,
    /// The script, which has the variable work_orders
    #[arg(long)]
    script: PathBuf,
    /// A database with the script's tables and work orders
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,
    /// An empty folder for pgbench's logs
    #[arg(long)]
    logs: PathBuf,
    /// Name of the contender in the result
    #[arg(long)]
    name: String,
    /// Name of the load in the result
    #[arg(long)]
    load: String,
    /// pgbench's clients
    #[arg(long)]
    connections: usize,
    /// Length of each measured stretch
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Seconds before each stretch that are not measured
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// After the first stretch, a second at this share of the rate found
    #[arg(long)]
    then_share: Option<f64>,
    /// The work orders W1, W2, … to count for
    #[arg(long)]
    work_orders: i32,
    /// A process to measure, as name=pid, with its children
    #[arg(long = "process")]
    processes: Vec<Watched>,
}

/// How long pgbench runs after the warm-up and the measured part. They begin with its first
/// report of a transaction, and that report comes up to a second late.
const MARGIN: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut database = PgConnection::connect(&args.database_url).await?;
    // As autovacuum would do it soon. The other rivals have a minute less until then.
    sqlx::query("analyze").execute(&mut database).await?;
    let connecting = time_to_connect(&args)?;
    let (closed, transactions) = stretch(&args, None, connecting)?;
    let (open, more) = match args.then_share {
        Some(share) => {
            let (phase, transactions) = stretch(&args, Some(share * closed.per_second), connecting)?;
            (Some(phase), transactions)
        }
        None => (None, 0),
    };
    let row = sqlx::query("select sum(input_quantity)::bigint, (select count(*) from update_log) from work_orders")
        .fetch_one(&mut database)
        .await?;
    let (quantity, logged): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    ensure!(quantity == logged, "quantity {quantity}, log {logged}");
    let check = Check {
        acknowledged: args.connections as u64 + transactions + more,
        quantity: quantity.unsigned_abs(),
        replayed: 0,
        settled: 0,
        unsettled: 0,
    };
    let cell = Cell { name: args.name, load: args.load, connections: args.connections, closed, open, check };
    println!("{}", serde_json::to_string(&cell)?);
    if cell.check.passed() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "scanfence-pgbench: WRONG COUNT: {} transactions, quantity {}",
        cell.check.acknowledged, cell.check.quantity
    );
    Ok(ExitCode::FAILURE)
}

/// How long pgbench takes until each of its clients has made one transaction. Its --time includes this.
fn time_to_connect(args: &Args) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let output = pgbench(args).arg("--transactions=1").arg(&args.database_url).output().context("starting pgbench")?;
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    Ok(start.elapsed())
}

/// Runs pgbench for one stretch. Also returns how many transactions it made in all.
fn stretch(args: &Args, rate: Option<f64>, connecting: Duration) -> anyhow::Result<(Phase, u64)> {
    let logs = args.logs.join(if rate.is_some() { "open" } else { "closed" });
    fs::create_dir(&logs).with_context(|| logs.display().to_string())?;
    let warm_up = Duration::from_secs_f64(args.warm_up);
    let length = Duration::from_secs_f64(args.seconds);
    let whole = (2 * connecting + warm_up + length + MARGIN).as_secs_f64().ceil();
    let mut command = pgbench(args);
    command
        .arg("--log")
        .arg(format!("--log-prefix={}", logs.join("log").display()))
        .arg(format!("--time={whole}"))
        .arg("--progress=1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(rate) = rate {
        ensure!(rate > 0.0, "not one transaction in the first stretch: no rate for the second");
        command.arg(format!("--rate={rate}"));
    }
    let mut pgbench = command.arg(&args.database_url).spawn().context("starting pgbench")?;
    let stderr = pgbench.stderr.take().context("pgbench without stderr")?;
    let Some(start) = first_transaction(stderr) else { bail!("pgbench: {}", pgbench.wait()?) };
    let clock = SystemTime::now();
    let mut watched = args.processes.clone();
    watched.push(Watched { name: GENERATOR.to_owned(), pid: pgbench.id() });
    let watching = processes::watch(watched, start + warm_up, start + warm_up + length);
    // pgbench ends by itself after --time. bench/run limits the time of the whole cell.
    let status = pgbench.wait()?;
    ensure!(status.success(), "pgbench: {status}");
    ensure!(start.elapsed() >= warm_up + length, "pgbench took too long to connect: it ended before the stretch");
    let processes = watching.join().map_err(|_panic| anyhow::anyhow!("watching the processes failed"))?;

    let from = (clock + warm_up).duration_since(UNIX_EPOCH)?;
    let (mut latency, mut all) = (histogram(), 0);
    for log in fs::read_dir(&logs)? {
        for line in BufReader::new(File::open(log?.path())?).lines() {
            let (done, took) = transaction(&line?).context("a line of pgbench's log that is not understood")?;
            all += 1;
            // As in the load generator: with a rate what was due counts, without one what was done.
            let moment = if rate.is_some() { done.saturating_sub(took) } else { done };
            if (from..from + length).contains(&moment) {
                record(&mut latency, took);
            }
        }
    }
    let phase = Phase {
        rate,
        seconds: args.seconds,
        answered: latency.len(),
        per_second: latency.len() as f64 / args.seconds,
        latency: Latency::from(&latency),
        replicas: Vec::new(),
        others: BTreeMap::new(),
        unsent: 0,
        processes,
    };
    Ok((phase, all))
}

/// pgbench, with the arguments that all its runs share.
fn pgbench(args: &Args) -> Command {
    let mut command = Command::new(&args.pgbench);
    command
        .args(["--no-vacuum", "--protocol=prepared"])
        .arg(format!("--file={}", args.script.display()))
        .arg(format!("--define=work_orders={}", args.work_orders))
        .arg(format!("--client={}", args.connections))
        .arg(format!("--jobs={}", args.connections.min(2)));
    command
}

/// When pgbench first reported transactions, or `None` if it ended before. Its other output is passed on.
fn first_transaction(stderr: ChildStderr) -> Option<Instant> {
    let (seen, first) = mpsc::channel();
    // Not joined: it ends with pgbench, and somebody waits for the end of pgbench.
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if !line.starts_with("progress:") {
                eprintln!("{line}");
            } else if !line.contains(", 0.0 tps,") {
                // Only the first is waited for. The others have no receiver.
                let _ = seen.send(Instant::now());
            }
        }
    });
    first.recv().ok()
}

/// When a transaction ended, since 1970, and how long it took (with a rate: since it was due).
fn transaction(line: &str) -> Option<(Duration, Duration)> {
    let mut fields = line.split(' ').skip(2);
    let took = Duration::from_micros(fields.next()?.parse().ok()?);
    let mut end = fields.skip(1);
    let seconds = Duration::from_secs(end.next()?.parse().ok()?);
    let micros = Duration::from_micros(end.next()?.parse().ok()?);
    Some((seconds + micros, took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_with_and_without_schedule_lag() {
        let read = Some((Duration::new(1_412_881_037, 912_698_000), Duration::from_micros(4173)));
        assert_eq!(transaction("0 199 4173 0 1412881037 912698"), read);
        assert_eq!(transaction("0 199 4173 0 1412881037 912698 31"), read);
        assert_eq!(transaction("0 199 failed 0 1412881037 912698"), None);
    }
}
