//! The load generator: terminals that scan over keep-alive HTTP/1.1 connections.
//!
//! First they scan as fast as they can. With `--then-share` they then scan at that share of the rate found, and
//! latency counts from the moment when each request was due. At the end every request without a 201 is
//! retried under its request id until it gets one. Then the quantities are compared with the
//! acknowledged scans. Prints one line of JSON to stdout. The exit code is 1 if the check fails.
//!
//! Long: one program, whose terminals, stretches and tallies share one state.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use hdrhistogram::Histogram;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use scanfence_bench::client::Connection;
use scanfence_bench::processes::{self, Watched};
use scanfence_bench::results::{self, Check, GENERATOR, Latency, Phase, histogram, record};
use scanfence_bench::schedule::Schedule;
use tokio::task::LocalSet;
use uuid::Uuid;

#[derive(Debug, Parser)]
#[command(about = "Drives scans at a running service and checks that each was counted once")]
struct Args {
    /// Base URL, e.g. http://127.0.0.1:8080; several are replicas, chosen at random per request
    #[arg(long = "url", required = true)]
    urls: Vec<String>,
    /// Name of the contender in the result
    #[arg(long, default_value = "scanfence")]
    name: String,
    /// Name of the load in the result
    #[arg(long, default_value = "spread")]
    load: String,
    /// Connections, each with one request under way at most
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Length of each measured stretch
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Seconds before each stretch that are not measured
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Fixed rate per second, instead of full load
    #[arg(long, conflicts_with = "then_share")]
    rate: Option<f64>,
    /// After the first stretch, a second at this share of the rate found
    #[arg(long)]
    then_share: Option<f64>,
    /// Work orders to scan for, chosen at random per request
    #[arg(long, default_value_t = 1000)]
    work_orders: usize,
    /// A new barcode with every scan
    #[arg(long)]
    barcodes: bool,
    /// Share of the requests that repeat an earlier one of the connection, same id, same body
    #[arg(long, default_value_t = 0.0)]
    repeats: f64,
    /// A process to measure, as name=pid, with its children
    #[arg(long = "process")]
    processes: Vec<Watched>,
}

/// One scan, with all that is needed to send it again byte by byte.
#[derive(Clone, Copy, Debug)]
struct Scan {
    request_id: Uuid,
    work_order: usize,
    /// Number of its barcode, if barcodes are in use.
    barcode: u64,
}

/// What all connections share. One thread drives them all.
struct Run {
    args: Args,
    work_orders: Vec<String>,
    barcodes: Cell<u64>,
    tally: RefCell<Tally>,
}

/// The outcome of every request, warm-up included.
#[derive(Default)]
struct Tally {
    acknowledged: u64,
    replayed: u64,
    undecided: Vec<Scan>,
}

/// One simulated terminal: a connection to each replica, and the scans it may repeat.
struct Terminal {
    connections: Vec<Connection>,
    rng: SmallRng,
    recent: Vec<Scan>,
    output: Vec<u8>,
}

/// A stretch being measured.
struct Stretch {
    from: Instant,
    to: Instant,
    schedule: Option<Arc<Schedule>>,
    seen: RefCell<Seen>,
}

/// The results of a stretch so far.
struct Seen {
    latency: Histogram<u64>,
    replicas: Vec<Histogram<u64>>,
    others: BTreeMap<String, u64>,
    unsent: u64,
}

/// Earlier scans that a terminal remembers for repeating.
const MOST_RECENT: usize = 64;
/// Wait of a terminal after an answer other than 201, so that a service that refuses is not overloaded.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(10);
/// Requests that are still due this long after a stretch's end are given up and reported as unsent.
const LONGEST_BACKLOG: Duration = Duration::from_secs(10);
/// How long answers may take that are under way at a stretch's end.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// Requests without a 201 are repeated for this long.
const LONGEST_SETTLING: Duration = Duration::from_secs(20);
/// Connections used for making and reading work orders.
const SETUP_CONNECTIONS: usize = 16;
/// The longest time for making, or reading, all work orders.
const LONGEST_SETUP: Duration = Duration::from_secs(120);

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    ensure!(args.connections > 0 && args.work_orders > 0, "at least one connection and one work order");
    ensure!((0.0..=1.0).contains(&args.repeats), "--repeats is a share");
    // One thread: it is cheaper than two, and the contender needs the other core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cell = LocalSet::new().block_on(&runtime, measure(args))?;
    println!("{}", serde_json::to_string(&cell)?);
    if cell.check.passed() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "scanfence-load: WRONG COUNT: {} scans acknowledged, quantity {}",
        cell.check.acknowledged, cell.check.quantity
    );
    Ok(ExitCode::FAILURE)
}

async fn measure(args: Args) -> anyhow::Result<results::Cell> {
    let addresses = args.urls.iter().map(|url| address(url)).collect::<anyhow::Result<Vec<_>>>()?;
    // A name that no earlier run on the same database has used.
    let prefix = request_id(&mut rand::make_rng::<SmallRng>()).simple().to_string();
    let work_orders = (0..args.work_orders).map(|number| format!("{prefix}-{number}")).collect();
    let mut terminals: Vec<Terminal> = (0..args.connections).map(|_| Terminal::new(&addresses)).collect();
    let run = Rc::new(Run { work_orders, args, barcodes: Cell::new(0), tally: RefCell::default() });

    run.create_work_orders(&addresses[0]).await.context("making the work orders")?;
    let closed = run.stretch(&mut terminals, run.args.rate).await?;
    let open = match run.args.then_share {
        Some(share) => Some(run.stretch(&mut terminals, Some(share * closed.per_second)).await?),
        None => None,
    };
    let settled = run.settle(&mut terminals[0]).await;
    let quantity = run.quantity(&addresses[0]).await.context("reading the work orders")?;
    let tally = run.tally.borrow();
    let check = Check {
        acknowledged: tally.acknowledged,
        quantity,
        replayed: tally.replayed,
        settled,
        unsettled: tally.undecided.len() as u64,
    };
    Ok(results::Cell {
        name: run.args.name.clone(),
        load: run.args.load.clone(),
        connections: run.args.connections,
        closed,
        open,
        check,
    })
}

impl Run {
    /// Runs one stretch on all terminals.
    async fn stretch(self: &Rc<Self>, terminals: &mut Vec<Terminal>, rate: Option<f64>) -> anyhow::Result<Phase> {
        ensure!(rate.is_none_or(|rate| rate > 0.0), "no rate: nothing was answered 201 in the first stretch");
        let start = Instant::now();
        let from = start + Duration::from_secs_f64(self.args.warm_up);
        let to = from + Duration::from_secs_f64(self.args.seconds);
        let mut watched = self.args.processes.clone();
        watched.push(Watched { name: GENERATOR.to_owned(), pid: std::process::id() });
        let watching = processes::watch(watched, from, to);
        let stretch = Rc::new(Stretch {
            from,
            to,
            schedule: rate.map(|rate| Schedule::start(rate, start, to, terminals.len())),
            seen: RefCell::new(Seen {
                latency: histogram(),
                replicas: self.args.urls.iter().map(|_| histogram()).collect(),
                others: BTreeMap::new(),
                unsent: 0,
            }),
        });
        let at_work: Vec<_> = terminals
            .drain(..)
            .map(|terminal| tokio::task::spawn_local(terminal.work(Rc::clone(self), Rc::clone(&stretch))))
            .collect();
        let give_up = to + LONGEST_BACKLOG + LONGEST_ANSWER;
        for terminal in at_work {
            let finished = tokio::time::timeout_at(give_up.into(), terminal).await;
            terminals.push(finished.context("a request was not answered within a minute")??);
        }
        let processes = watching.join().map_err(|_panic| anyhow::anyhow!("watching the processes failed"))?;
        let seen = stretch.seen.borrow();
        Ok(Phase {
            rate,
            seconds: self.args.seconds,
            answered: seen.latency.len() - seen.unsent,
            per_second: (seen.latency.len() - seen.unsent) as f64 / self.args.seconds,
            latency: Latency::from(&seen.latency),
            replicas: match seen.replicas.as_slice() {
                [_one] => Vec::new(),
                several => several.iter().map(Latency::from).collect(),
            },
            others: seen.others.clone(),
            unsent: seen.unsent,
            processes,
        })
    }

    /// Sends requests without a 201 again until they have one. Returns how many got it.
    async fn settle(&self, terminal: &mut Terminal) -> u64 {
        let end = Instant::now() + LONGEST_SETTLING;
        let mut waiting = std::mem::take(&mut self.tally.borrow_mut().undecided);
        let mut settled = 0;
        while !waiting.is_empty() && Instant::now() < end {
            let mut left = Vec::new();
            for scan in waiting {
                let sending = terminal.send(self, scan, 0);
                let counted = match tokio::time::timeout_at(end.into(), sending).await {
                    Ok(Ok((status, _replayed))) => status == 201,
                    Ok(Err(_)) | Err(_) => false,
                };
                if counted {
                    settled += 1;
                } else {
                    left.push(scan);
                }
            }
            waiting = left;
            tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
        }
        let mut tally = self.tally.borrow_mut();
        tally.acknowledged += settled;
        tally.undecided = waiting;
        settled
    }

    async fn create_work_orders(self: &Rc<Self>, address: &str) -> anyhow::Result<()> {
        self.on_each_work_order(address, |host, name| {
            let body = r#"{"planned_quantity":1000000000,"over_plan_allowance":null}"#;
            format!(
                "PUT /v1/work-orders/{name} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len(),
            )
        })
        .await?;
        Ok(())
    }

    async fn quantity(self: &Rc<Self>, address: &str) -> anyhow::Result<u64> {
        let bodies = self
            .on_each_work_order(address, |host, name| {
                format!("GET /v1/work-orders/{name} HTTP/1.1\r\nHost: {host}\r\n\r\n")
            })
            .await?;
        let mut sum = 0;
        for body in bodies {
            let work_order: serde_json::Value = serde_json::from_slice(&body)?;
            sum += work_order["input_quantity"].as_u64().context("a work order without input_quantity")?;
        }
        Ok(sum)
    }

    /// Sends one request for every work order, a few at a time, and returns the bodies.
    async fn on_each_work_order(
        self: &Rc<Self>,
        address: &str,
        request: impl Fn(&str, &str) -> String + Copy + 'static,
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        let connections = SETUP_CONNECTIONS.min(self.work_orders.len());
        let tasks: Vec<_> = (0..connections)
            .map(|first| {
                let (run, mut connection) = (Rc::clone(self), Connection::new(address));
                tokio::task::spawn_local(async move {
                    let mut bodies = Vec::new();
                    for name in run.work_orders.iter().skip(first).step_by(connections) {
                        let request = request(connection.address(), name);
                        let answer = connection.send(request.as_bytes()).await?;
                        if !(200..300).contains(&answer.status) {
                            bail!("{}: {}", answer.status, String::from_utf8_lossy(answer.body));
                        }
                        bodies.push(answer.body.to_vec());
                    }
                    Ok(bodies)
                })
            })
            .collect();
        let end = tokio::time::Instant::now() + LONGEST_SETUP;
        let mut bodies = Vec::new();
        for task in tasks {
            bodies.extend(tokio::time::timeout_at(end, task).await.context("out of time")???);
        }
        Ok(bodies)
    }
}

impl Terminal {
    fn new(addresses: &[String]) -> Self {
        Self {
            connections: addresses.iter().map(|address| Connection::new(address)).collect(),
            rng: rand::make_rng(),
            recent: Vec::with_capacity(MOST_RECENT),
            output: Vec::with_capacity(512),
        }
    }

    /// Scans until the stretch is over.
    async fn work(mut self, run: Rc<Run>, stretch: Rc<Stretch>) -> Self {
        while let Some(due) = stretch.next().await {
            if Instant::now() > stretch.to + LONGEST_BACKLOG {
                stretch.give_up(due);
                continue;
            }
            let (scan, repeated) = self.choose(&run);
            let replica = match self.connections.len() {
                1 => 0,
                several => self.rng.random_range(0..several),
            };
            let answer = self.send(&run, scan, replica).await;
            let done = Instant::now();
            match answer {
                Ok((201, replayed)) if replayed == repeated => {
                    stretch.answered(replica, due, done);
                    self.acknowledged(&run, scan, repeated);
                }
                Ok((status, replayed)) => {
                    let kind = if status == 201 { format!("201, replayed: {replayed}") } else { status.to_string() };
                    self.refused(&run, &stretch, scan, repeated, done, kind).await;
                }
                Err(error) => {
                    self.refused(&run, &stretch, scan, repeated, done, format!("broken: {}", error.kind())).await;
                }
            }
        }
        self
    }

    fn acknowledged(&mut self, run: &Run, scan: Scan, repeated: bool) {
        let mut tally = run.tally.borrow_mut();
        if repeated {
            tally.replayed += 1;
            return;
        }
        tally.acknowledged += 1;
        if self.recent.len() < MOST_RECENT {
            self.recent.push(scan);
        } else {
            let oldest = self.rng.random_range(0..MOST_RECENT);
            self.recent[oldest] = scan;
        }
    }

    async fn refused(&self, run: &Run, stretch: &Stretch, scan: Scan, repeated: bool, at: Instant, kind: String) {
        if stretch.holds(at) {
            *stretch.seen.borrow_mut().others.entry(kind).or_default() += 1;
        }
        // A repeated scan was acknowledged before, and is already in the count.
        if !repeated {
            run.tally.borrow_mut().undecided.push(scan);
        }
        tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
    }

    /// A new scan, or an earlier one.
    fn choose(&mut self, run: &Run) -> (Scan, bool) {
        let repeat = run.args.repeats > 0.0 && !self.recent.is_empty() && self.rng.random_bool(run.args.repeats);
        if repeat {
            return (self.recent[self.rng.random_range(0..self.recent.len())], true);
        }
        let barcode = run.barcodes.get();
        run.barcodes.set(barcode + 1);
        let work_order = self.rng.random_range(0..run.work_orders.len());
        (Scan { request_id: request_id(&mut self.rng), work_order, barcode }, false)
    }

    async fn send(&mut self, run: &Run, scan: Scan, replica: usize) -> std::io::Result<(u16, bool)> {
        let connection = &mut self.connections[replica];
        self.output.clear();
        run.write_request(&mut self.output, connection.address(), scan);
        let answer = connection.send(&self.output).await?;
        Ok((answer.status, answer.replayed))
    }
}

impl Run {
    fn write_request(&self, output: &mut Vec<u8>, host: &str, scan: Scan) {
        const BODY: &str = r#"{"counter":"input","step":"P010","station":"L3-T2","terminal":"t7","operator":"E1024""#;
        const BARCODE_DIGITS: usize = 12;
        const BARCODE: &str = r#","barcode":"WA2080"#;
        let barcode = if self.args.barcodes { BARCODE.len() + BARCODE_DIGITS + 1 } else { 0 };
        let work_order = &self.work_orders[scan.work_order];
        let written = write!(
            output,
            "POST /v1/work-orders/{work_order}/scans HTTP/1.1\r\nHost: {host}\r\nIdempotency-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
            scan.request_id,
            BODY.len() + barcode + 1,
        );
        written.expect("a Vec takes all that is written");
        if self.args.barcodes {
            write!(output, "{BARCODE}{:0BARCODE_DIGITS$}\"", scan.barcode).expect("a Vec takes all that is written");
        }
        output.push(b'}');
    }
}

impl Stretch {
    /// When the next request is due: at once, or as scheduled. `None` when the stretch is over.
    async fn next(&self) -> Option<Instant> {
        match &self.schedule {
            Some(schedule) => schedule.next().await,
            None => Some(Instant::now()).filter(|now| *now < self.to),
        }
    }

    /// Whether a moment is within the measured part.
    fn holds(&self, moment: Instant) -> bool {
        (self.from..self.to).contains(&moment)
    }

    /// With a fixed rate, what was due in the measured part counts, however late its answer
    /// is. Without one, what was answered in the measured part counts.
    fn answered(&self, replica: usize, due: Instant, done: Instant) {
        if self.holds(if self.schedule.is_some() { due } else { done }) {
            let mut seen = self.seen.borrow_mut();
            record(&mut seen.latency, done - due);
            record(&mut seen.replicas[replica], done - due);
        }
    }

    fn give_up(&self, due: Instant) {
        if self.holds(due) {
            let mut seen = self.seen.borrow_mut();
            record(&mut seen.latency, due.elapsed());
            seen.unsent += 1;
        }
    }
}

/// A UUIDv7: ordered by time, as the contract recommends.
fn request_id(rng: &mut SmallRng) -> Uuid {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rng.random()).into_uuid()
}

/// `host:port` of a base URL.
fn address(url: &str) -> anyhow::Result<String> {
    let address = url.strip_prefix("http://").with_context(|| format!("{url}: only http:// here"))?;
    Ok(address.trim_end_matches('/').to_owned())
}
