//! A run: a plant at work while faults happen. A watcher looks all the time, and the checker judges
//! the whole history after each round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checker::{Ledger, Promise, Violation, judge};
use super::floor::{Floor, Patience};
use super::history::{History, Told};
use super::nemesis::{self, Fault, Nemesis};
use super::plant::{Ground, LEASE_TTL, Plant};
use super::say;
use super::shop::{Shift, Terminals};
use super::snapshot::{Books, Reader};
use super::sometimes::Tally;
use super::watch::{Scraper, Watcher};
use crate::stage::client::Client;
use crate::stage::{SOON, eventually};
use serde_json::json;

/// Within this time after the last fault, everything is settled and every replica is ready.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// Before the first fault, and between two rounds.
const WARM_UP: Duration = Duration::from_millis(800);
/// The memory that a replica may hold after the load: not more than under it.
const MEMORY_KIB: u64 = 64 * 1024;
/// Work orders with half of the work, and those with the other half.
const WORK_ORDERS: usize = 40;
/// The most violations that are printed: the first ones explain the others.
const TOLD: usize = 12;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides the faults, their times, and what the terminals send.
    pub seed: u64,
    /// Rounds begin until this time is over. At least one begins.
    pub at_least: Duration,
    /// The embedded deployment rather than the shared one.
    pub embedded: bool,
    /// Terminals.
    pub terminals: usize,
    /// MiB of each disk.
    pub disk: u64,
}

/// The outcome of a run.
pub struct Report {
    /// What happened.
    pub tally: Tally,
    /// What was wrong.
    pub violations: Vec<Violation>,
}

/// Runs a plan from an empty plant to the end of the last round.
pub async fn run(plan: Plan) -> Report {
    let mut plant = plant_of(&plan).await;
    let floor = Floor::new(plant.doors(), work_orders(&plant.doors()[0], WORK_ORDERS).await);
    let terminals = Terminals::start(&floor, plan.terminals, plan.seed);
    let watcher = Watcher::start(plant.books(), &floor.history);
    let scraper = Scraper::start(&plant.replicas);
    tokio::time::sleep(WARM_UP).await;
    let held: Vec<(usize, u64)> = plant.replicas.iter().filter_map(|replica| replica.holds()).collect();

    let mut run = Run { floor, nemesis: Nemesis::new(), full_disks: 0, took: Duration::ZERO };
    let mut violations = Vec::new();
    let begun = Instant::now();
    let mut last = Ledger::default();
    for round in 0.. {
        let struck = Instant::now();
        for strike in nemesis::round(plan.seed, round, plant.replicas.len(), plan.embedded) {
            // Counted for this fault only, since a failover leaves the log of the old primary behind.
            let noted = (strike.fault == Fault::DiskFull).then(|| plant.full_disks_noted());
            run.nemesis.strike(&strike, &mut plant, &run.floor).await;
            run.full_disks += noted.map_or(0, |noted| plant.full_disks_noted().saturating_sub(noted));
            watcher.look_at(plant.books());
        }
        run.nemesis.calm(&mut plant, &run.floor).await;
        run.took += struck.elapsed();
        violations.extend(run.settle(&mut plant, &terminals).await);
        let (ledger, wrong) = books_of(plant.books(), &run.floor.history).await;
        violations.extend(wrong);
        violations.extend(own_check(&plant.doors()[0]).await);
        violations.extend(clean(&mut plant, &run.floor, &held).await);
        violations.extend(watcher.found());
        last = ledger;
        say(format_args!(
            "{}, round {}: {} requests, {} faults, {} violations after {} s",
            if plan.embedded { "embedded" } else { "shared" },
            round + 1,
            run.floor.history.requests(),
            run.nemesis.struck.len(),
            violations.len(),
            begun.elapsed().as_secs()
        ));
        if begun.elapsed() >= plan.at_least || !violations.is_empty() {
            break;
        }
        terminals.shift(Shift::Work);
        tokio::time::sleep(WARM_UP).await;
    }
    terminals.shift(Shift::Over);
    terminals.join().await;
    let tally = run.tally(&plant, &watcher, &scraper, &last);
    if !violations.is_empty() {
        show_logs(&plant);
    }
    violations.truncate(TOLD);
    Report { tally, violations }
}

async fn plant_of(plan: &Plan) -> Plant {
    match plan.embedded {
        true => Plant::embedded(plan.disk).await,
        // Two or three replicas, as the seed says.
        false => Plant::shared(2 + usize::try_from(plan.seed % 2).expect("0 or 1"), plan.disk).await,
    }
}

fn show_logs(plant: &Plant) {
    for (place, replica) in plant.replicas.iter().enumerate() {
        eprintln!("--- the end of the log of replica {place}\n{}", replica.log());
    }
}

/// Creates work orders without a limit, and a few with one.
pub async fn work_orders(door: &str, count: usize) -> Vec<String> {
    let client = Client::new(door);
    let mut numbers = Vec::with_capacity(count);
    for place in 0..count {
        let number = format!("W-{place}");
        let plan = match place % 10 {
            9 => json!({ "planned_quantity": 60, "over_plan_allowance": 5 }),
            _ => json!({ "planned_quantity": 1_000, "over_plan_allowance": null }),
        };
        let reply = client.put_work_order(&number, &plan).await;
        assert!(reply.status.is_success(), "{}", reply.text());
        numbers.push(number);
    }
    numbers
}

/// The books, read from the first row on, and what is wrong with them and with the whole history.
pub async fn books_of(books: Books, history: &History) -> (Ledger, Vec<Violation>) {
    let mut ledger = Ledger::default();
    for (id, at) in history.acknowledged(0).0 {
        ledger.acknowledge(id, at);
    }
    let snapshot = Reader::new(books.clone()).snapshot().await.expect("the database is there");
    let mut wrong = ledger.see(&snapshot);
    let rows = Reader::rows_in_all(&books).await.expect("the database is there");
    if rows != ledger.len() {
        wrong.push(Violation::of(Promise::Once, format!("{rows} rows, {} of them of a work order", ledger.len())));
    }
    wrong.extend(judge(&history.attempts(), &history.reads(), &ledger));
    (ledger, wrong)
}

struct Run {
    floor: Arc<Floor>,
    nemesis: Nemesis,
    full_disks: usize,
    took: Duration,
}

impl Run {
    /// Waits until every fault is over, and then at most as long as promised until everything is settled.
    async fn settle(&self, plant: &mut Plant, terminals: &Terminals) -> Vec<Violation> {
        self.floor.set_patience(Patience::Usual);
        plant.replicas.iter().for_each(|replica| replica.mend());
        eventually("calm: every replica listens", SOON, async || {
            plant.replicas.iter().all(|replica| replica.process().is_some()).then_some(())
        })
        .await;
        terminals.shift(Shift::Settle);
        let calm = Instant::now();
        loop {
            let mut waiting = Vec::new();
            for (place, replica) in plant.replicas.iter().enumerate() {
                if !replica.is_ready().await {
                    waiting.push(format!("replica {place} is not ready"));
                }
            }
            if self.floor.busy() > 0 {
                waiting.push(format!("{} terminals have something unsettled", self.floor.busy()));
            }
            if waiting.is_empty() {
                return Vec::new();
            }
            if calm.elapsed() > SETTLED_WITHIN {
                return waiting.into_iter().map(|how| Violation::of(Promise::Live, how)).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn tally(&self, plant: &Plant, watcher: &Watcher, scraper: &Scraper, ledger: &Ledger) -> Tally {
        let mut tally = Tally {
            requests: self.floor.history.requests(),
            kills_under_way: self.nemesis.under_way_at_kills.iter().filter(|under_way| **under_way > 0).count(),
            fenced_off: scraper.sum("scanfence_fenced_off_total"),
            leases_lost: scraper.sum("scanfence_leases_total{event=\"lost\"}"),
            breaker_openings: plant.replicas.iter().map(|replica| replica.breaker_openings()).sum(),
            full_disks: self.full_disks,
            snapshots: watcher.judged(),
            rows: [ledger.len(), ledger.counted()],
            took: self.took,
            ..Tally::default()
        };
        for fault in &self.nemesis.struck {
            *tally.faults.entry(*fault).or_default() += 1;
        }
        tally.note_deeds(ledger, &self.floor.history.attempts());
        for attempt in self.floor.history.attempts().iter() {
            tally.replays += usize::from(attempt.told.is_replay());
            tally.unknown += usize::from(attempt.told.is_unknown());
            tally.reused += usize::from(matches!(attempt.told, Told::Reused { .. }));
        }
        tally
    }
}

/// What the service's own check of all work orders finds, or its scheduled ones have ever found.
async fn own_check(door: &str) -> Vec<Violation> {
    let client = Client::new(door);
    // The first one may be refused: each connection must notice by itself that it is broken.
    let place = eventually("a check is taken", SOON, async || {
        let asked = client.json("POST", "/v1/consistency/checks", &[], &json!({ "range": "full" })).await.ok()?;
        asked.header("location").map(ToOwned::to_owned)
    })
    .await;
    let deadline = Instant::now() + SOON;
    let mut check = json!(null);
    while check["finished_at"].is_null() {
        if Instant::now() > deadline {
            return vec![Violation::of(Promise::Live, format!("its own check does not end: {check}"))];
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let reply = client.request("GET", &place, &[], "").await.ok();
        check = reply.filter(|reply| reply.status.is_success()).map_or(check, |reply| reply.json());
    }
    let mut wrong = Vec::new();
    if check["state"] != "good" {
        wrong.push(Violation::of(Promise::Conserve, format!("its own check: {check}")));
    }
    let findings = client.get("/v1/consistency/findings").await;
    assert!(findings.status.is_success(), "{}", findings.text());
    let findings = findings.json();
    for finding in findings["items"].as_array().into_iter().flatten() {
        wrong.push(Violation::of(Promise::Conserve, format!("a check has found: {finding}")));
    }
    wrong
}

/// What must not be left over once everything is settled and idle.
async fn clean(plant: &mut Plant, floor: &Floor, held: &[(usize, u64)]) -> Vec<Violation> {
    floor.hang_up();
    let mut wrong: Vec<String> = plant.replicas.iter().flat_map(|replica| replica.complaints()).collect();
    let files = held.iter().map(|(files, _)| *files).max().unwrap_or_default();
    let memory = held.iter().map(|(_, memory)| *memory).max().unwrap_or_default() + MEMORY_KIB;
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let mut left: Vec<String> = Vec::new();
        for replica in &plant.replicas {
            match replica.holds() {
                Some((has, _)) if has > files => left.push(format!("{has} open files, under load it had {files}")),
                Some((_, has)) if has > memory => left.push(format!("{has} KiB of memory, more than {memory}")),
                Some(_) => {}
                None => left.push("a replica is down".to_owned()),
            }
        }
        if let Ground::Shared(shared) = &plant.ground {
            let sessions = shared.postgres.idle_in_transaction().await;
            if sessions > 0 {
                left.push(format!("{sessions} sessions are idle in a transaction"));
            }
            left.extend(shared.redis.leases_within(LEASE_TTL).into_iter().map(|key| format!("{key} is left")));
        }
        if left.is_empty() || Instant::now() > deadline {
            wrong.extend(left);
            return wrong.into_iter().map(|how| Violation::of(Promise::Clean, how)).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
