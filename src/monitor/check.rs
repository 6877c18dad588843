//! One check: reads work orders page by page, has them judged, and notes what was found.
//!
//! Small work orders are read many at once, each page one short snapshot. A long one is
//! read in pieces: its claims first, each stretch with the seq at which it was read; then
//! its log, which only grows; and at last the log's end together with the row, in one
//! snapshot. So row and log are always of one moment (pitfall 36), and no moment is long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::accepted::{self, Acceptances};
use super::ledger::Ledger;
use super::parts::{self, Part, Standing, Tally};
use crate::domain::consistency::{Check, CheckState, Drift, Kind, Range, Remedy};
use crate::domain::time::Timestamp;
use crate::domain::work_order::WorkOrder;
use crate::store::StoreError;
use crate::store::consistency::{
    CheckLease, ClaimPlace, ClaimedRow, ConsistencyStore, LoggedRow, Page, Progress, RefusedPlace, Scope, Tail,
};

/// Numbers looked up at once.
const NAMES: i64 = 1_000;
/// Rows in one snapshot: few, since whoever reads and judges them keeps a thread from
/// counting meanwhile (seen with 5 000: scans waited 18 ms instead of 1.4).
const ROWS: i64 = 1_000;
/// Claims of a long work order in one snapshot.
const CLAIMS: i64 = 2_000;
/// The longest rest between two pages. A check rests for as long as it has worked, and so
/// takes half of one core at most.
const LONGEST_REST: Duration = Duration::from_millis(200);
/// How often progress is noted where nothing is found: each note is a commit.
const NOTED_EVERY: Duration = Duration::from_secs(1);
/// How long the right to check lasts unless it is renewed with each note: many of them,
/// and short enough for another replica to go on soon.
pub const TURN: Duration = Duration::from_secs(20);
/// How long a store that fails is asked again.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// How many stretches of claims are looked at one by one in a work order that is wrong in
/// many places.
const LOOKED_AT: usize = 8;

/// Why a check did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// Another process runs checks now.
    #[error("another process has taken the right to run checks")]
    TurnLost,
    /// This process stops; whoever is next goes on with it.
    #[error("the process stops")]
    Stopped,
    /// The store fails for too long.
    #[error("the store can't be read")]
    Store(#[from] StoreError),
}

/// Runs a check from where it was left to its end, and tells `watch` of its progress.
///
/// # Errors
/// See [`Cut`]; it is left unfinished then.
pub async fn run(
    store: &dyn ConsistencyStore,
    check: &Check,
    holder: &str,
    stop: &CancellationToken,
    watch: &(dyn Fn(&Check) + Sync),
) -> Result<Check, Cut> {
    let scope = scope(check);
    let total = retried(|| store.count_work_orders(&scope)).await?;
    let id = check.check_id.as_str();
    let Some(begun) = retried(|| store.begin_check(id, total)).await? else {
        return Err(Cut::TurnLost);
    };
    watch(&begun);
    let since = retried(|| store.now()).await?;
    let now = Instant::now();
    let batch = Batch::from(since);
    let mut reading = Reading { store, check: begun, holder, watch, noted: now, rested: now, batch };
    let mut after = reading.check.read_up_to.clone().unwrap_or_default();
    loop {
        let names = retried(|| store.next_work_orders(&scope, &after, NAMES)).await?;
        for page in pages(&names.found) {
            if stop.is_cancelled() {
                reading.note().await?;
                return Err(Cut::Stopped);
            }
            reading.read(page).await?;
        }
        match names.read_up_to {
            Some(read_up_to) => after = read_up_to,
            None => break,
        }
    }
    reading.note().await?;
    Ok(reading.check)
}

/// How a check that came to its end has ended.
#[must_use]
pub fn verdict(check: &Check) -> CheckState {
    if check.findings_seen == 0 { CheckState::Good } else { CheckState::Drift }
}

fn scope(check: &Check) -> Scope {
    match (check.range, &check.work_order, check.since) {
        (Range::WorkOrder, Some(name), _) => Scope::One(name.clone()),
        (Range::Recent | Range::Since, _, Some(since)) => Scope::ChangedSince(since),
        (Range::Full, ..) | (Range::Recent | Range::Since | Range::WorkOrder, ..) => Scope::All,
    }
}

/// Neighbours that are read together: by what their rows say, about [`ROWS`] rows of log.
fn pages(found: &[(String, i64)]) -> Vec<Vec<String>> {
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut length = i64::MAX;
    for (name, rows) in found {
        // Also an empty work order costs a look-up.
        let rows = rows.max(&10);
        match pages.last_mut() {
            Some(page) if length.saturating_add(*rows) <= ROWS => {
                page.push(name.clone());
                length += rows;
            }
            _ => {
                pages.push(vec![name.clone()]);
                length = *rows;
            }
        }
    }
    pages
}

/// A check at work.
struct Reading<'a> {
    store: &'a dyn ConsistencyStore,
    check: Check,
    holder: &'a str,
    watch: &'a (dyn Fn(&Check) + Sync),
    noted: Instant,
    rested: Instant,
    batch: Batch,
}

/// What was read since the last note.
struct Batch {
    since: Timestamp,
    names: Vec<String>,
    drifts: Vec<(String, Drift)>,
    rows: i64,
}

impl Batch {
    fn from(since: Timestamp) -> Self {
        Self { since, names: Vec::new(), drifts: Vec::new(), rows: 0 }
    }
}

impl Reading<'_> {
    /// Reads work orders together; in halves where that is too much, one by one at last.
    async fn read(&mut self, names: Vec<String>) -> Result<(), Cut> {
        let mut left = vec![names];
        while let Some(names) = left.pop() {
            match retried(|| self.store.page(&names, ROWS)).await? {
                Some(page) => {
                    let accepted = accepted(self.store, &names).await?;
                    self.judged(&names, judge_page(&names, page, accepted)).await?;
                }
                None if names.len() > 1 => {
                    let (first, second) = names.split_at(names.len() / 2);
                    left.push(second.to_vec());
                    left.push(first.to_vec());
                }
                None => {
                    let long = self.long(&names[0]).await?;
                    self.judged(&names, long).await?;
                }
            }
        }
        Ok(())
    }

    async fn judged(&mut self, names: &[String], (rows, drifts): (i64, Vec<Drift>)) -> Result<(), Cut> {
        self.batch.names.extend_from_slice(names);
        self.batch.rows += rows;
        self.batch.drifts.extend(drifts.into_iter().map(|drift| (Uuid::now_v7().to_string(), drift)));
        if self.noted.elapsed() >= NOTED_EVERY || !self.batch.drifts.is_empty() {
            self.note().await?;
        }
        self.rest().await;
        Ok(())
    }

    /// Leaves the machine to the scans.
    async fn rest(&mut self) {
        sleep(self.rested.elapsed().min(LONGEST_REST)).await;
        self.rested = Instant::now();
    }

    /// Notes what was read, which also renews the right to go on.
    async fn note(&mut self) -> Result<(), Cut> {
        let read_up_to = self.batch.names.iter().max().map(String::as_str);
        let progress = Progress {
            check_id: &self.check.check_id,
            lease: CheckLease { holder: self.holder, ttl: TURN },
            numbers: &self.batch.names,
            drifts: &self.batch.drifts,
            read_up_to,
            rows_read: self.batch.rows,
            read_since: self.batch.since,
        };
        if !retried(|| self.store.note_progress(&progress)).await? {
            return Err(Cut::TurnLost);
        }
        let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.check.work_orders_read += length(self.batch.names.len());
        self.check.rows_read += self.batch.rows;
        self.check.findings_seen += length(self.batch.drifts.len());
        self.check.read_up_to = read_up_to.map(str::to_owned).or_else(|| self.check.read_up_to.take());
        (self.watch)(&self.check);
        self.batch = Batch::from(retried(|| self.store.now()).await?);
        self.noted = Instant::now();
        Ok(())
    }

    /// Renews the right to go on from within a long work order.
    async fn breathe(&mut self, rows: i64) -> Result<(), Cut> {
        self.batch.rows += rows;
        if self.noted.elapsed() >= NOTED_EVERY {
            let since = self.batch.since;
            self.note().await?;
            // What is read of this work order was begun to be read before.
            self.batch.since = since;
        }
        self.rest().await;
        Ok(())
    }

    /// Judges a work order that is too long for one snapshot.
    async fn long(&mut self, name: &str) -> Result<(i64, Vec<Drift>), Cut> {
        let mut tallies = self.tallies(name).await?;
        let accepted = accepted(self.store, &[name.to_owned()]).await?.remove(name).unwrap_or_default();
        let mut ledger = Ledger::of(name, accepted.clone());
        self.refused(name, &mut ledger).await?;
        let row = loop {
            let seq = ledger.seq();
            let rows = retried(|| self.store.counted_after(name, seq, ROWS)).await?;
            let read = count(&rows);
            take_all(&mut ledger, &mut tallies, rows);
            self.breathe(read).await?;
            if read < ROWS {
                let seq = ledger.seq();
                let Tail { work_order, log } = retried(|| self.store.tail(name, seq, ROWS)).await?;
                let ended = count(&log) < ROWS;
                self.batch.rows += count(&log);
                take_all(&mut ledger, &mut tallies, log);
                if ended {
                    break work_order;
                }
            }
        };
        let mut drifts = ledger.judge(row.as_ref());
        if let Some(row) = row {
            let remedy = remedy(&ledger, &row);
            let mut low: Option<Part> = None;
            let mut looked_at = 0;
            for tally in tallies {
                if !tally.agrees() && looked_at < LOOKED_AT {
                    looked_at += 1;
                    match tally.crowd_drift(name) {
                        Some(drift) => drifts.push(drift),
                        None => {
                            let policy = row.plan.barcode_policy;
                            let standing = Standing::of(name, policy, accepted.clone());
                            drifts.extend(self.stretch(name, standing, low.clone(), &tally, remedy).await?);
                        }
                    }
                }
                low = tally.up_to;
            }
        }
        // The rows are counted already, piece by piece.
        Ok((0, distinct(drifts, &accepted)))
    }

    async fn refused(&mut self, name: &str, ledger: &mut Ledger) -> Result<(), Cut> {
        let mut after: Option<RefusedPlace> = None;
        loop {
            let rows = retried(|| self.store.refused_after(name, after.as_ref(), ROWS)).await?;
            let read = count(&rows);
            after = rows.last().map(|row| RefusedPlace {
                at_seq: row.at_seq.unwrap_or(0),
                recorded_at: row.recorded_at.clone(),
                request_id: row.request_id.clone(),
            });
            rows.into_iter().for_each(|row| ledger.take(row));
            self.breathe(read).await?;
            if read < ROWS {
                return Ok(());
            }
        }
    }

    /// All claims of a work order, a number for each stretch of them.
    async fn tallies(&mut self, name: &str) -> Result<Vec<Tally>, Cut> {
        let mut tallies = Vec::new();
        let mut after: Option<ClaimPlace> = None;
        loop {
            let slice = retried(|| self.store.claims_after(name, after.as_ref(), CLAIMS)).await?;
            let mut claims = slice.claims;
            if count(&claims) < CLAIMS {
                tallies.push(Tally::of(&claims, None, slice.seq));
                return Ok(tallies);
            }
            // A stretch ends between two barcodes.
            let last = claims.last().map(Part::of_claim).unwrap_or_default();
            claims.retain(|claim| Part::of_claim(claim) != last);
            match claims.last().map(Part::of_claim) {
                Some(up_to) => {
                    after = Some(up_to.place(i64::MAX));
                    tallies.push(Tally::of(&claims, Some(up_to), slice.seq));
                }
                None => {
                    let place = last.place(i64::MAX);
                    let (seq, crowd) = retried(|| self.store.count_claims(name, &place)).await?;
                    tallies.push(Tally::of_crowd(last, crowd, seq));
                    after = Some(place);
                }
            }
            self.breathe(0).await?;
        }
    }

    /// Judges one stretch of claims exactly, by a second walk through the log.
    async fn stretch(
        &mut self,
        name: &str,
        mut standing: Standing,
        low: Option<Part>,
        tally: &Tally,
        remedy: Remedy,
    ) -> Result<Vec<Drift>, Cut> {
        let within = |part: &Part| {
            low.as_ref().is_none_or(|low| part > low) && tally.up_to.as_ref().is_none_or(|up_to| part <= up_to)
        };
        let after = low.as_ref().map(|low| low.place(i64::MAX));
        let slice = retried(|| self.store.claims_after(name, after.as_ref(), 2 * CLAIMS)).await?;
        let mut seq = 0;
        while seq < slice.seq {
            let rows = retried(|| self.store.counted_after(name, seq, ROWS)).await?;
            let Some(last) = rows.last().and_then(|row| row.seq) else { break };
            let of_stretch = rows.iter().filter(|row| row.seq.is_some_and(|seq| seq <= slice.seq));
            for row in of_stretch.filter(|row| Part::of_row(row).is_some_and(|part| within(&part))) {
                standing.take(row);
            }
            seq = last;
            self.breathe(0).await?;
        }
        let claims: Vec<ClaimedRow> = slice.claims.into_iter().filter(|claim| within(&Part::of_claim(claim))).collect();
        Ok(standing.judge(&claims, remedy))
    }
}

/// Judges work orders that were read whole, and says how many rows of log they have.
#[must_use]
pub fn judge_page(names: &[String], page: Page, mut accepted: BTreeMap<String, Acceptances>) -> (i64, Vec<Drift>) {
    let rows = count(&page.log);
    let mut work_orders: BTreeMap<String, WorkOrder> =
        page.work_orders.into_iter().map(|row| (row.work_order.to_string(), row)).collect();
    let mut logs: BTreeMap<String, Vec<LoggedRow>> = BTreeMap::new();
    for row in page.log {
        logs.entry(row.work_order.clone()).or_default().push(row);
    }
    let mut claims: BTreeMap<String, Vec<ClaimedRow>> = BTreeMap::new();
    for claim in page.claims {
        claims.entry(claim.work_order.clone()).or_default().push(claim);
    }
    let judged = names.iter().flat_map(|name| {
        let log = logs.remove(name).unwrap_or_default();
        let claims = claims.remove(name).unwrap_or_default();
        let accepted = accepted.remove(name).unwrap_or_default();
        judge_one(name, work_orders.remove(name).as_ref(), log, &claims, &accepted)
    });
    (rows, judged.collect())
}

fn judge_one(
    name: &str,
    row: Option<&WorkOrder>,
    mut log: Vec<LoggedRow>,
    claims: &[ClaimedRow],
    accepted: &Acceptances,
) -> Vec<Drift> {
    log.sort_by_key(|row| (row.seq.is_none(), row.seq));
    let mut ledger = Ledger::of(name, accepted.clone());
    let mut standing = row.map(|row| Standing::of(name, row.plan.barcode_policy, accepted.clone()));
    for row in log {
        if let Some(standing) = &mut standing {
            standing.take(&row);
        }
        ledger.take(row);
    }
    let mut drifts = ledger.judge(row);
    match (row, standing) {
        (Some(row), Some(standing)) => drifts.extend(standing.judge(claims, remedy(&ledger, row))),
        _ if !claims.is_empty() && drifts.is_empty() => drifts.push(orphan_claims(name, claims)),
        _ => {}
    }
    distinct(drifts, accepted)
}

/// Claims can be set right from a log that is in order.
fn remedy(ledger: &Ledger, row: &WorkOrder) -> Remedy {
    if ledger.explains(row) { Remedy::Repair } else { Remedy::Decision }
}

fn orphan_claims(name: &str, claims: &[ClaimedRow]) -> Drift {
    let first: Vec<_> = claims.iter().take(3).map(|claim| serde_json::json!({ "barcode": claim.barcode })).collect();
    Drift {
        work_order: name.to_owned(),
        kind: Kind::Orphan,
        counter: None,
        seq: None,
        request_id: claims.first().map(|claim| claim.request_id.clone()),
        expected: serde_json::Value::Null,
        actual: serde_json::json!(claims.len()),
        details: serde_json::json!({ "claims": first, "claims_wrong": claims.len() }),
        remedy: Remedy::Decision,
    }
}

/// One drift for each kind and counter of a work order: the first bad row that isn't accepted.
fn distinct(drifts: Vec<Drift>, accepted: &Acceptances) -> Vec<Drift> {
    let mut kept: Vec<Drift> = Vec::with_capacity(drifts.len());
    for drift in drifts.into_iter().filter(|drift| !accepted.cover(drift)) {
        if !kept.iter().any(|other| (other.kind, other.counter) == (drift.kind, drift.counter)) {
            kept.push(drift);
        }
    }
    kept
}

fn take_all(ledger: &mut Ledger, tallies: &mut [Tally], rows: Vec<LoggedRow>) {
    for row in rows {
        parts::tally(tallies, &row);
        ledger.take(row);
    }
}

fn count<T>(rows: &[T]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}

/// What is accepted of these work orders.
pub(super) async fn accepted(
    store: &dyn ConsistencyStore,
    names: &[String],
) -> Result<BTreeMap<String, Acceptances>, StoreError> {
    Ok(Acceptances::of(retried(|| store.audit_entries(names, accepted::ACTION)).await?))
}

/// Asks again where the store failed for now.
pub(super) async fn retried<'a, T>(
    operation: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match operation().await {
            Err(StoreError::TryAgain(_) | StoreError::Broken(_)) if Instant::now() < until => sleep(PAUSE).await,
            done => return done,
        }
    }
}
