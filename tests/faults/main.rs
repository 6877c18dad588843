//! The fault suite: every fault that a plant may meet, on real servers and the real program.
//! It checks every promise of the contract during the faults and after them.
//!
//! In reading order:
//!
//! - [`plant`]: the [`replica`]s and the servers below them;
//! - [`shop`]: the terminals, the [`floor`] that they share, what [`replies`] say to them, and the [`history`] of their requests;
//! - [`nemesis`]: chooses the faults, causes them and ends them;
//! - [`snapshot`]: what the database has, and [`watch`], which takes snapshots during the run;
//! - [`checker`]: finds violations, [`parts`]: those of what is taken back;
//! - [`run`]: a whole run, and what must happen in it [`sometimes`];
//! - [`red`] and [`controls`]: show that the checker goes red;
//! - [`naive`]: what happens to an endpoint without protection.
//!
//! `docs/FAULTS.md` says what each fault leads to. The short form runs three seeds for a round each.
//! `SCANFENCE_FAULT_SEED` names one seed, `SCANFENCE_FAULT_MINUTES` makes the run longer.

#[path = "../stage/mod.rs"]
mod stage;

mod checker;
mod controls;
mod floor;
mod history;
mod naive;
mod nemesis;
mod parts;
mod plant;
mod red;
mod replica;
mod replies;
mod run;
mod shop;
mod snapshot;
mod sometimes;
mod watch;

use std::io::Write as _;
use std::time::{Duration, Instant};

use run::Plan;
use sometimes::Tally;

/// One run at a time: a second one would disturb the quiet phases of the first.
static STAGE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The seeds of the short form.
const SEEDS: [u64; 3] = [1, 2, 3];
/// What the short form has to reach, all seeds together.
const REQUESTS: usize = 20_000;
const FAULTS: usize = 150;
/// And within what time.
const SHORT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_loses_doubles_or_blocks_a_scan() {
    let _alone = STAGE.lock().await;
    let begun = Instant::now();
    let seed: Option<u64> = setting("SCANFENCE_FAULT_SEED");
    let minutes: Option<u64> = setting("SCANFENCE_FAULT_MINUTES");
    say(format_args!("the program under test: {}", stage::service::program().display()));
    let mut all = Tally::default();
    for seed in seed.map_or_else(|| SEEDS.to_vec(), |seed| vec![seed]) {
        all.add(&both_deployments(seed, minutes.unwrap_or(0)).await);
    }
    say(format_args!("in all: {all}0 violations, in {} s", begun.elapsed().as_secs()));
    assert_eq!(all.undone_deeds(), [], "what nobody has done, the runs do not show");
    if seed.is_none() && minutes.is_none() {
        assert!(all.requests >= REQUESTS, "only {} requests", all.requests);
        assert!(all.all_faults() >= FAULTS, "only {} faults", all.all_faults());
        assert!(begun.elapsed() <= SHORT, "it took {:?}", begun.elapsed());
    }
}

/// Runs the shared and the embedded deployment beside each other.
async fn both_deployments(seed: u64, minutes: u64) -> Tally {
    say(format_args!("seed {seed} (SCANFENCE_FAULT_SEED={seed} strikes the same again)"));
    let _told_at_the_end = ToldOnPanic(seed);
    let at_least = Duration::from_secs(60 * minutes);
    let disk = 256 + 40 * minutes;
    let shared = Plan { seed, at_least, embedded: false, terminals: 40, disk };
    let embedded = Plan { embedded: true, terminals: 12, disk: 64 + 10 * minutes, ..shared };
    let (shared, embedded) = tokio::join!(run::run(shared), run::run(embedded));
    let mut all = Tally::default();
    for (name, report, is_embedded) in [("shared", shared, false), ("embedded", embedded, true)] {
        println!("{name}: {}{} violations", report.tally, report.violations.len());
        let wrong: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "seed {seed}, {name}: {}", wrong.join("\n"));
        let missing = report.tally.missing(is_embedded);
        assert!(missing.is_empty(), "seed {seed}, {name}: the run shows nothing: {missing:?}");
        all.add(&report.tally);
    }
    all
}

/// Prints past the test harness, which hides the output of a test that passes.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Prints the seed if a run fails.
struct ToldOnPanic(u64);

impl Drop for ToldOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it failed with seed {0}: SCANFENCE_FAULT_SEED={0} strikes the same again", self.0);
        }
    }
}

fn setting(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a whole number, not {text:?}")))
}
