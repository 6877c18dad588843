//! What must happen at some time in a run. If it never happens, the run proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use strum::VariantArray;

use super::checker::Ledger;
use super::history::{Attempt, Told};
use super::nemesis::Fault;
use super::snapshot::Row;

/// What happened in a run, counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// HTTP requests sent.
    pub requests: usize,
    /// Faults, by kind.
    pub faults: BTreeMap<Fault, usize>,
    /// Kills of a replica with requests under way to it.
    pub kills_under_way: usize,
    /// Answers given again.
    pub replays: usize,
    /// Attempts whose outcome the terminal did not learn.
    pub unknown: usize,
    /// Attempts that were turned away for their body, under a known id.
    pub reused: usize,
    /// Writes that came after a newer fence had written, and changed nothing.
    pub fenced_off: u64,
    /// Leases that ran out or were lost.
    pub leases_lost: u64,
    /// How often a replica reported that Redis is away.
    pub breaker_openings: usize,
    /// How often the database noted that its disk is full.
    pub full_disks: usize,
    /// Snapshots of the running plant that were judged.
    pub snapshots: usize,
    /// Rows of the log at the end, and those of them that were counted.
    pub rows: [usize; 2],
    /// What terminals and supervisors have done.
    pub deeds: BTreeMap<Deed, usize>,
    /// How long faults happened.
    pub took: Duration,
}

/// What somebody must do in one of the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub enum Deed {
    /// A scan was undone.
    Undone,
    /// Several terminals undid one scan.
    UndoneByRivals,
    /// An undo had nothing to undo.
    NothingToUndo,
    /// An undo came before its scan, and was decided later.
    UndoneTooEarly,
    /// A scan that was made before a hold was counted after it.
    Late,
    /// A scan was counted in spite of hold or plan.
    Overridden,
    /// A refused scan was counted.
    Settled,
    /// A refused scan was to be counted again.
    AlreadySettled,
    /// A recount freed all barcodes of a counter.
    Released,
}

impl Deed {
    /// What a row of the log is.
    fn of(row: &Row) -> Vec<Self> {
        let counted = row.seq.is_some();
        let code = row.code.as_deref();
        [
            (Self::Undone, counted && row.action == "undo"),
            (Self::NothingToUndo, code == Some("nothing-to-undo")),
            (Self::Late, counted && row.late),
            (Self::Overridden, counted && row.r#override),
            (Self::Settled, counted && row.settles.is_some()),
            (Self::AlreadySettled, code == Some("already-settled")),
            (Self::Released, counted && row.barcodes.as_deref() == Some("release")),
        ]
        .into_iter()
        .filter_map(|(deed, is_one)| is_one.then_some(deed))
        .collect()
    }
}

impl Tally {
    /// Faults of all kinds.
    pub fn all_faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// Adds what happened in another run.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        for (fault, times) in &other.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
        self.kills_under_way += other.kills_under_way;
        self.replays += other.replays;
        self.unknown += other.unknown;
        self.reused += other.reused;
        self.fenced_off += other.fenced_off;
        self.leases_lost += other.leases_lost;
        self.breaker_openings += other.breaker_openings;
        self.full_disks += other.full_disks;
        self.snapshots += other.snapshots;
        self.rows = [self.rows[0] + other.rows[0], self.rows[1] + other.rows[1]];
        for (deed, times) in &other.deeds {
            *self.deeds.entry(*deed).or_default() += times;
        }
        self.took += other.took;
    }

    /// Counts what the log and the history show.
    pub fn note_deeds(&mut self, ledger: &Ledger, attempts: &[Attempt]) {
        let mut undone_by: BTreeMap<&str, BTreeSet<Option<&str>>> = BTreeMap::new();
        for row in ledger.rows() {
            Deed::of(row).into_iter().for_each(|deed| *self.deeds.entry(deed).or_default() += 1);
            if let Some(undoes) = &row.undoes {
                undone_by.entry(undoes).or_default().insert(row.terminal.as_deref());
            }
        }
        let rivals = undone_by.values().filter(|terminals| terminals.len() > 1).count();
        let too_early = |attempt: &&Attempt| {
            matches!(&attempt.told, Told::Undecided { code, .. } if code == "update-unknown")
                && ledger.row(&attempt.request.id).is_some()
        };
        let too_early = attempts.iter().filter(too_early).count();
        for (deed, times) in [(Deed::UndoneByRivals, rivals), (Deed::UndoneTooEarly, too_early)] {
            *self.deeds.entry(deed).or_default() += times;
        }
    }

    /// What nobody has done in any run.
    pub fn undone_deeds(&self) -> Vec<Deed> {
        Deed::VARIANTS.iter().copied().filter(|deed| self.deeds.get(deed).is_none_or(|times| *times == 0)).collect()
    }

    /// What never happened, although it must happen in a run.
    pub fn missing(&self, embedded: bool) -> Vec<String> {
        let mut always = vec![
            ("request under way at a kill", self.kills_under_way),
            ("replay", self.replays),
            ("unknown outcome", self.unknown),
            ("known id with another body", self.reused),
            ("full disk", self.full_disks),
            // At least one in four seconds, although four in a second are planned: databases are often away.
            ("snapshot while faults strike", self.snapshots * 4 / (self.took.as_secs() as usize).max(1)),
        ];
        if !embedded {
            #[expect(clippy::cast_possible_truncation, reason = "it is asked only whether there were any")]
            always.extend([
                ("fenced-off write", self.fenced_off as usize),
                ("lease lost", self.leases_lost as usize),
                ("opening of the breaker", self.breaker_openings),
            ]);
        }
        let never = always.into_iter().filter(|(_, times)| *times == 0);
        let mut missing: Vec<String> = never.map(|(what, _)| format!("no {what}")).collect();
        for fault in Fault::all_of(embedded).filter(|fault| !self.faults.contains_key(fault)) {
            missing.push(format!("never: {}", fault.words()));
        }
        missing
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, unknown, replays, reused, fenced_off, leases_lost, breaker_openings, .. } = self;
        writeln!(
            f,
            "{requests} requests, {} faults in {} s; {} rows in the log, {} of them counted",
            self.all_faults(),
            self.took.as_secs(),
            self.rows[0],
            self.rows[1]
        )?;
        writeln!(
            f,
            "{unknown} unknown outcomes, {replays} replays, {reused} known ids with another body, \
             {} kills with requests under way",
            self.kills_under_way
        )?;
        writeln!(
            f,
            "{fenced_off} fenced-off writes, {leases_lost} leases lost, {breaker_openings} openings of the breaker, \
             {} notes of a full disk, {} snapshots judged meanwhile",
            self.full_disks, self.snapshots
        )?;
        for (fault, times) in &self.faults {
            writeln!(f, "{times:>6} × {}", fault.words())?;
        }
        for (deed, times) in &self.deeds {
            writeln!(f, "{times:>6} × {deed:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Tally {
        Tally {
            faults: Fault::all_of(false).map(|fault| (fault, 1)).collect(),
            kills_under_way: 1,
            replays: 1,
            unknown: 1,
            reused: 1,
            fenced_off: 1,
            leases_lost: 1,
            breaker_openings: 1,
            full_disks: 1,
            snapshots: 10,
            took: Duration::from_secs(10),
            ..Tally::default()
        }
    }

    #[test]
    fn a_run_in_which_something_never_happened_shows_nothing() {
        assert_eq!(full().missing(false), Vec::<String>::new());
        let without: [fn(&mut Tally); 10] = [
            |tally| tally.kills_under_way = 0,
            |tally| tally.replays = 0,
            |tally| tally.unknown = 0,
            |tally| tally.reused = 0,
            |tally| tally.fenced_off = 0,
            |tally| tally.leases_lost = 0,
            |tally| tally.breaker_openings = 0,
            |tally| tally.full_disks = 0,
            |tally| tally.snapshots = 1,
            |tally| tally.faults.retain(|fault, _| *fault != Fault::DiskFull),
        ];
        for take_away in without {
            let mut tally = full();
            take_away(&mut tally);
            assert_eq!(tally.missing(false).len(), 1, "{tally}");
        }
    }
}
