//! The embedded store: one SQLite file, nothing else to start.
//!
//! One connection writes, a few read. Every write goes between `begin immediate` and
//! COMMIT with an fsync at its end (WAL, `synchronous=FULL`), so the one writer at a
//! time is the row lock too. Rows come back as one JSON text each, and lists are sent as
//! one, but for the rows of a batch.
//!
//! In reading order: [`SqliteStore`]; [`folder`], where the file lies and who may use
//! it; `write`, the guarded write; `statements`, the SQL text of counting; `calls`, how
//! statements get their values; `consistency`, the monitor's part, with its
//! SQL in `consistency_statements`; `alarms`, likewise; `errors`, what SQLite's codes mean for a caller.

mod alarms;
mod calls;
mod consistency;
mod consistency_statements;
mod errors;
pub mod folder;
mod statements;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::time::timeout;

use self::calls::{Arguments, change, fetch, list, run};
use self::folder::OpenError;
use super::connections::{Connections, Lent};
use super::repeats::Repeats;
use super::{
    BarcodeQuery, Batch, Edited, LogCursor, Readiness, Store, StoreError, UpdateQuery, Wanted, WorkOrderQuery, Written,
    rows,
};
use crate::domain::decide::{Claim, ClaimKey, Facts};
use crate::domain::ids::{Quantity, RequestId, Seq, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::update::Update;
use crate::domain::work_order::{Edit, EditRefusal, Fresh, Precondition, Status, WorkOrder};

/// How long SQLite itself waits for a command that writes beside the service. The
/// committer tries again; this only has to be long enough not to spin.
const BUSY_LIMIT: Duration = Duration::from_secs(2);
/// How long an operation waits for its turn on a connection.
const LEND_LIMIT: Duration = Duration::from_secs(5);
/// How long an operation may take, its wait for a connection included: well above
/// [`LEND_LIMIT`] and [`BUSY_LIMIT`], so that each is reported as what it is, and below
/// the request's own limit.
const OPERATION_LIMIT: Duration = Duration::from_secs(15);
/// A commit of changes this young is proof enough that the file takes writes.
const PROOF_AGE: Duration = Duration::from_secs(1);
/// How long [`Store::ready`] waits for a writer that is at work: a health check's patience.
const READY_LIMIT: Duration = Duration::from_secs(1);
/// Reads at once: the board, the lists, the health check.
const READERS: usize = 4;
/// One to read for a check, one for who looks at it meanwhile.
const MONITOR_READERS: usize = 2;

/// 16 MiB (negative: KiB): the upper levels of the log's indexes and the busy work orders.
const WRITER_CACHE: &str = "-16384";
/// A batch of 64 writes about 100 pages to the write-ahead log; this has one batch in
/// eighty pay for the two syncs of a checkpoint (SQLite's own 1000 pages: one in ten),
/// for a log file of about 32 MiB.
const CHECKPOINT_PAGES: &str = "8000";

/// Work orders, updates and claims in one SQLite file.
pub struct SqliteStore {
    writer: Connections<SqliteConnection>,
    readers: Connections<SqliteConnection>,
    monitor: Connections<SqliteConnection>,
    repeats: Repeats,
    /// When a commit last changed rows: the proof that the file takes writes.
    committed: Mutex<Option<Instant>>,
    /// Whether the last write failed in a way that points at the disk.
    suspect: AtomicBool,
}

impl SqliteStore {
    /// Opens the database in `folder`, which [`folder::migrate`] has made.
    ///
    /// # Errors
    /// Where there is none, or it is not one of this release.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        folder::check(folder).await?;
        let file = folder.join(folder::DATABASE);
        let writer = options(&file).pragma("cache_size", WRITER_CACHE).pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        let reader = options(&file).pragma("query_only", "on");
        Ok(Self {
            writer: connections(1, writer),
            readers: connections(READERS, reader.clone()),
            monitor: connections(MONITOR_READERS, reader),
            repeats: Repeats::default(),
            committed: Mutex::new(None),
            suspect: AtomicBool::new(false),
        })
    }

    /// Lends the writer with a transaction begun that no other writer can begin beside.
    async fn begin(&self, patience: Duration) -> Result<Lent<'_, SqliteConnection>, StoreError> {
        let (lent, _) = self.begin_with(patience, statements::BEGIN, Arguments::default()).await?;
        Ok(lent)
    }

    /// The same, by a statement that begins with `begin` and may ask for a row.
    async fn begin_with(
        &self,
        patience: Duration,
        statement: &'static str,
        bound: Arguments,
    ) -> Result<(Lent<'_, SqliteConnection>, Option<SqliteRow>), StoreError> {
        let mut lent = self.writer.lend(patience).await?;
        match bound.query(statement).fetch_optional(lent.get()).await {
            Ok(found) => Ok((lent, found)),
            Err(error) => Err(self.fail(lent, error).await),
        }
    }

    /// Ends a transaction, begun or not, in which something failed.
    async fn fail(&self, lent: Lent<'_, SqliteConnection>, error: sqlx::Error) -> StoreError {
        self.suspect.fetch_or(errors::points_at_the_disk(&error), Ordering::Relaxed);
        if errors::connection_is_good(&error) {
            self.roll_back(lent).await;
        }
        errors::before_commit(error)
    }

    /// Commits what went well and rolls back what did not.
    ///
    /// A failed COMMIT is [`StoreError::Broken`], whatever the reason, and the connection
    /// is closed: whether the last page reached the disk is for the next load to find out.
    /// (It is never busy: the lock was taken at the beginning.)
    async fn finish<T>(&self, mut lent: Lent<'_, SqliteConnection>, work: Result<T, Failure>) -> Result<T, StoreError> {
        match work {
            Ok(value) => match run(lent.get(), statements::COMMIT).await {
                Ok(()) => {
                    lent.give_back();
                    Ok(value)
                }
                Err(error) => {
                    self.suspect.store(true, Ordering::Relaxed);
                    Err(StoreError::Broken(error.into()))
                }
            },
            Err(Failure::Sql(error)) => Err(self.fail(lent, error).await),
            Err(Failure::Ours(error)) => {
                self.roll_back(lent).await;
                Err(error)
            }
        }
    }

    /// A commit has changed rows. One that has not writes nothing, on a full disk too.
    fn took_a_write(&self) {
        self.suspect.store(false, Ordering::Relaxed);
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Takes the commit of a batch for proof, if anything of it passed.
    fn note_written(&self, written: &Result<Written, StoreError>) {
        if written.as_ref().is_ok_and(|written| !written.passed.is_empty()) {
            self.took_a_write();
        }
    }

    async fn roll_back(&self, mut lent: Lent<'_, SqliteConnection>) {
        match run(lent.get(), statements::ROLLBACK).await {
            Ok(()) => lent.give_back(),
            Err(error) if errors::nothing_was_begun(&error) => lent.give_back(),
            // Closed.
            Err(_) => {}
        }
    }

    /// Runs one reading statement and reads its rows.
    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        statement: &'static str,
        arguments: impl FnOnce(&mut Arguments),
    ) -> Result<Vec<T>, StoreError> {
        let mut bound = Arguments::default();
        arguments(&mut bound);
        let texts = limited(async {
            let mut lent = self.readers.lend(LEND_LIMIT).await?;
            match fetch(lent.get(), statement, bound).await {
                Ok(texts) => {
                    lent.give_back();
                    Ok(texts)
                }
                Err(error) => {
                    if errors::connection_is_good(&error) {
                        lent.give_back();
                    }
                    Err(errors::before_commit(error))
                }
            }
        })
        .await?;
        texts.iter().map(|text| rows::read(text)).collect()
    }

    fn wrote_lately(&self) -> bool {
        let committed = *self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.is_some_and(|at| at.elapsed() < PROOF_AGE)
    }

    /// Whether the file takes a write: after trouble, by writing to it. Never cut off in
    /// the middle, which would cost the counting path its connection.
    async fn takes_writes(&self) -> bool {
        if self.wrote_lately() {
            return true;
        }
        let Ok(mut lent) = self.begin(READY_LIMIT).await else {
            // The writer is at work, or the file is busy; unless it was done just now.
            return self.wrote_lately();
        };
        let suspect = self.suspect.load(Ordering::Relaxed);
        let probed = match suspect {
            true => run(lent.get(), statements::WRITE_ONE_PAGE).await,
            false => Ok(()),
        };
        let good = self.finish(lent, probed.map_err(Failure::Sql)).await.is_ok();
        if good && suspect {
            self.took_a_write();
        }
        good
    }
}

#[async_trait]
impl Store for SqliteStore {
    /// By the writer's connection, whose page cache is warm: the committer, the only
    /// caller, loads and writes in turn.
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError> {
        limited(async {
            let mut lent = self.writer.lend(LEND_LIMIT).await?;
            match load(lent.get(), wanted).await {
                Ok(facts) => {
                    lent.give_back();
                    Ok(facts)
                }
                Err(Failure::Ours(error)) => {
                    lent.give_back();
                    Err(error)
                }
                Err(Failure::Sql(error)) => {
                    if errors::connection_is_good(&error) {
                        lent.give_back();
                    }
                    Err(errors::before_commit(error))
                }
            }
        })
        .await
    }

    async fn write(&self, batch: &Batch) -> Result<Written, StoreError> {
        let attempt = |looks| {
            limited(async move {
                let (statement, bound) = write::begin(batch, looks);
                let (mut lent, found) = self.begin_with(LEND_LIMIT, statement, bound).await?;
                let written = write::write(lent.get(), batch, found).await;
                let written = self.finish(lent, written).await;
                self.note_written(&written);
                written
            })
        };
        self.repeats.write(batch, attempt).await
    }

    /// The writer is alone between `begin immediate` and COMMIT: that is the row lock.
    async fn write_locked(
        &self,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let written = match load(lent.get(), wanted).await {
                Ok(facts) => {
                    // All that it bears on was looked up just now, under the lock.
                    let batch = decide(facts);
                    write::write(lent.get(), &batch, None).await
                }
                Err(failure) => Err(failure),
            };
            let written = self.finish(lent, written).await;
            self.note_written(&written);
            written
        })
        .await
    }

    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let edited = apply(lent.get(), number, edit, precondition, fresh).await;
            let edited = self.finish(lent, edited).await;
            if let Ok(Ok(_)) = edited {
                self.took_a_write();
            }
            edited
        })
        .await
    }

    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError> {
        let mut found = self.read(statements::WORK_ORDER, |bound| bound.text(number.as_str())).await?;
        Ok(found.pop())
    }

    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError> {
        self.read(statements::WORK_ORDERS, |bound| {
            // Every number sorts after the empty text.
            bound.text(query.after.as_ref().map_or("", WorkOrderNumber::as_str));
            bound.maybe(query.status.map(Status::word));
            bound.maybe(query.line.as_deref());
            bound.maybe(query.q.as_deref());
            bound.number(query.limit);
        })
        .await
    }

    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError> {
        let statement = match query.barcode {
            Some(_) => statements::UPDATES_OF_PART,
            None => statements::UPDATES,
        };
        let bounds = Bounds::older_than(query.before.as_ref());
        self.read(statement, |bound| {
            bound.text(query.work_order.as_str());
            bound.number(bounds.counted_below);
            bound.number(bounds.refused_below.0.0);
            bound.text(&bounds.refused_below.1);
            bound.text(&bounds.refused_below.2);
            bound.maybe(query.counter.map(Counter::word));
            bound.maybe(query.outcome.map(crate::domain::update::Outcome::word));
            bound.maybe(query.from.map(|from| from.to_string()).as_deref());
            bound.maybe(query.to.map(|to| to.to_string()).as_deref());
            bound.number(query.limit);
            bound.maybe(query.barcode.as_deref());
        })
        .await
    }

    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError> {
        let (recorded_at, request_id) = match &query.before {
            Some((recorded_at, request_id)) => (recorded_at.to_string(), request_id.as_str()),
            None => (AFTER_ALL_TIMES.to_owned(), ""),
        };
        self.read(statements::UPDATES_OF_BARCODE, |bound| {
            bound.text(&query.barcode);
            bound.text(&recorded_at);
            bound.text(request_id);
            bound.number(query.limit);
        })
        .await
    }

    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        let ids = list(&ids);
        self.read(statements::UPDATES_BY_ID, |bound| bound.text(&ids)).await
    }

    async fn ready(&self) -> Result<Readiness, StoreError> {
        let applied: Vec<i64> = self.read(statements::MIGRATIONS, |_| {}).await?;
        let migrated = folder::all_applied(&applied);
        Ok(Readiness { writable: self.takes_writes().await, migrated, synchronous_standby: false })
    }

    fn epoch(&self) -> u64 {
        self.writer.opened()
    }

    async fn close(&self) {
        self.readers.close().await;
        self.monitor.close().await;
        // Last, since the last connection to close empties the write-ahead log.
        self.writer.close().await;
    }
}

/// Options of every connection.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_LIMIT)
        .foreign_keys(false)
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

fn connections(size: usize, options: SqliteConnectOptions) -> Connections<SqliteConnection> {
    Connections::new(size, move || {
        let options = options.clone();
        Box::pin(async move { options.connect().await })
    })
}

/// Ends an operation at its time limit. Its connection is dropped with it, and closed.
async fn limited<T>(operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(OPERATION_LIMIT, operation).await {
        Ok(result) => result,
        Err(elapsed) => Err(StoreError::Broken(elapsed.into())),
    }
}

/// Why the work of a transaction ended early.
enum Failure {
    /// SQLite said so.
    Sql(sqlx::Error),
    /// We said so, on a connection that is well.
    Ours(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Ours(error)
    }
}

/// A claim as a row, both ways.
#[derive(Serialize, Deserialize)]
struct ClaimRow {
    work_order: WorkOrderNumber,
    counter: Counter,
    step: String,
    barcode: String,
    ordinal: i64,
    request_id: RequestId,
    quantity: Quantity,
}

/// The newest claims of one barcode, as asked for.
#[derive(Serialize)]
struct ClaimAsk<'a> {
    work_order: &'a WorkOrderNumber,
    counter: Counter,
    step: &'a str,
    barcode: &'a str,
    depth: i64,
}

impl<'a> ClaimAsk<'a> {
    fn of(key: &'a ClaimKey, depth: i64) -> Self {
        Self { work_order: &key.work_order, counter: key.counter, step: &key.step, barcode: &key.barcode, depth }
    }
}

async fn load(connection: &mut SqliteConnection, wanted: &Wanted) -> Result<Facts, Failure> {
    let asks = wanted.claims.iter().map(|(key, depth)| ClaimAsk::of(key, *depth));
    let mut bound = Arguments::default();
    bound.text(&list(&wanted.work_orders));
    bound.text(&list(&wanted.request_ids));
    bound.text(&list(&asks.collect::<Vec<_>>()));
    let row = bound.query(statements::LOAD).fetch_one(connection).await?;
    let work_orders: Vec<WorkOrder> = rows::read(row.try_get(0)?)?;
    let updates: Vec<Arc<Update>> = rows::read::<Vec<Update>>(row.try_get(1)?)?.into_iter().map(Arc::new).collect();
    let mut claims: Vec<ClaimRow> = rows::read(row.try_get(2)?)?;
    claims.sort_unstable_by_key(|claim| claim.ordinal);

    let mut facts = Facts {
        work_orders: work_orders.into_iter().map(|row| (row.work_order.clone(), row)).collect(),
        updates: updates.into_iter().map(|update| (update.request_id.clone(), update)).collect(),
        ..Facts::default()
    };
    for (key, claim) in claims.into_iter().map(ClaimRow::into) {
        facts.claims.entry(key).or_default().push(claim);
    }
    Ok(facts)
}

/// The body of [`Store::edit`], within its transaction. A refusal writes nothing.
async fn apply(
    connection: &mut SqliteConnection,
    number: &WorkOrderNumber,
    edit: &Edit,
    precondition: &Precondition,
    fresh: Fresh,
) -> Result<Result<Edited, EditRefusal>, Failure> {
    let mut bound = Arguments::default();
    bound.text(number.as_str());
    let found = fetch(connection, statements::WORK_ORDER, bound).await?;
    let present = found.first().map(|text| rows::read::<WorkOrder>(text)).transpose()?;
    let row = match edit.apply(number, present.as_ref(), precondition, fresh) {
        Ok(row) => row,
        Err(refusal) => return Ok(Err(refusal)),
    };
    change(connection, statements::REPLACE, &[&row]).await?;
    Ok(Ok(Edited { row, created: present.is_none() }))
}

impl ClaimRow {
    fn of((key, claim): &(ClaimKey, Claim)) -> Self {
        Self {
            work_order: key.work_order.clone(),
            counter: key.counter,
            step: key.step.clone(),
            barcode: key.barcode.clone(),
            ordinal: claim.ordinal,
            request_id: claim.request_id.clone(),
            quantity: claim.quantity,
        }
    }
}

impl From<ClaimRow> for (ClaimKey, Claim) {
    fn from(row: ClaimRow) -> Self {
        let ClaimRow { work_order, counter, step, barcode, ordinal, request_id, quantity } = row;
        (ClaimKey { work_order, counter, step, barcode }, Claim { ordinal, request_id, quantity })
    }
}

/// Sorts after every time: times begin with a digit.
const AFTER_ALL_TIMES: &str = "~";

/// Where the two walks of a list begin: down the counted updates by `seq`, and down
/// the refused ones by (`at_seq`, `recorded_at`, `request_id`); exclusive.
struct Bounds {
    counted_below: i64,
    refused_below: (Seq, String, String),
}

impl Bounds {
    fn older_than(place: Option<&LogCursor>) -> Self {
        match place {
            None => {
                Self { counted_below: i64::MAX, refused_below: (Seq(i64::MAX), AFTER_ALL_TIMES.into(), String::new()) }
            }
            // What is refused at a seq is newer than what was counted there.
            Some(LogCursor { seq, refused: None }) => {
                Self { counted_below: seq.0, refused_below: (*seq, String::new(), String::new()) }
            }
            Some(LogCursor { seq, refused: Some((recorded_at, request_id)) }) => Self {
                counted_below: seq.0.saturating_add(1),
                refused_below: (*seq, recorded_at.to_string(), request_id.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Executor as _;

    use super::*;
    use crate::domain::ids::{Revision, Stamp};
    use crate::domain::time::Timestamp;
    use crate::domain::work_order::Plan;

    async fn store() -> (SqliteStore, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("there is room");
        folder::migrate(folder.path()).await.expect("it is new");
        (SqliteStore::open(folder.path()).await.expect("it is migrated"), folder)
    }

    fn plan() -> Plan {
        Plan {
            planned_quantity: Quantity::ZERO,
            over_plan_allowance: None,
            barcode_policy: Default::default(),
            product_code: None,
            product_name: Some("x".repeat(2000)),
            line: None,
        }
    }

    async fn put(store: &SqliteStore, number: usize) -> Result<(), StoreError> {
        let number = WorkOrderNumber::parse(&format!("W{number}")).expect("it is one");
        let now = Timestamp::parse("2026-01-03T08:00:00Z").expect("it is one");
        let fresh = Fresh { stamp: Stamp(1), revision: Revision(1), now };
        let edited = store.edit(&number, &Edit::Plan(plan()), &Precondition::None, fresh).await?;
        edited.expect("no rule is in the way");
        Ok(())
    }

    #[tokio::test]
    async fn every_connection_syncs_every_commit() {
        let (store, _folder) = store().await;
        for connections in [&store.writer, &store.readers, &store.monitor] {
            let mut lent = connections.lend(LEND_LIMIT).await.expect("it is free");
            for (pragma, expected) in [("pragma synchronous", "2"), ("pragma journal_mode", "wal")] {
                let row = lent.get().fetch_one(pragma).await.expect("it is known");
                let value = row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
                assert_eq!(value.expect("it has one column"), expected, "{pragma}");
            }
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_try_again_and_the_file_is_opened_anew() {
        let (mut store, folder) = store().await;
        let small = options(&folder.path().join(folder::DATABASE)).pragma("max_page_count", "20");
        store.writer = connections(1, small);
        let mut number = 0;
        let error = loop {
            number += 1;
            match put(&store, number).await {
                Ok(()) => assert!(number < 100, "twenty pages are full some day"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::TryAgain(_)), "{error:?}");
        assert!(store.suspect.load(Ordering::Relaxed));
        assert_eq!(store.epoch(), 1);
        let full = WorkOrderNumber::parse(&format!("W{number}")).expect("it is one");
        assert_eq!(store.work_order(&full).await.expect("reads go on"), None);

        *store.committed.lock().expect("nobody panicked") = None;
        assert!(store.ready().await.expect("it can be asked").writable, "a page that is there takes a write");
        assert_eq!(store.epoch(), 2, "on a new connection");
        assert!(!store.suspect.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_commit_that_changed_nothing_proves_nothing() {
        let (store, _folder) = store().await;
        let proven = || store.committed.lock().expect("nobody panicked").is_some();
        let refused = async || {
            let number = WorkOrderNumber::parse("W1").expect("it is one");
            let now = Timestamp::parse("2026-01-03T08:00:00Z").expect("it is one");
            let fresh = Fresh { stamp: Stamp(2), revision: Revision(2), now };
            let edited = store.edit(&number, &Edit::Plan(plan()), &Precondition::AnyOf(Vec::new()), fresh).await;
            assert!(edited.expect("nothing is in the way").is_err(), "it stands at another revision");
        };
        let empty = async || {
            store.write(&Batch::default()).await.expect("nothing is in the way");
            store.write_locked(&Wanted::default(), &mut |_| Batch::default()).await.expect("nothing is in the way");
        };
        put(&store, 1).await.expect("there is room");
        assert!(proven());

        store.suspect.store(true, Ordering::Relaxed);
        *store.committed.lock().expect("nobody panicked") = None;
        refused().await;
        assert!(store.suspect.load(Ordering::Relaxed) && !proven(), "a refused edit");
        empty().await;
        assert!(store.suspect.load(Ordering::Relaxed) && !proven(), "an empty batch");

        assert!(store.ready().await.expect("it can be asked").writable, "by a write of its own");
        assert!(!store.suspect.load(Ordering::Relaxed) && proven());
    }

    #[tokio::test]
    async fn a_writer_that_is_held_up_is_not_ready_and_one_that_commits_is() {
        let (store, folder) = store().await;
        put(&store, 1).await.expect("there is room");
        let mut command = options(&folder.path().join(folder::DATABASE)).connect().await.expect("it is there");
        command.execute("begin immediate").await.expect("nobody writes");
        assert!(store.ready().await.expect("it can be asked").writable, "the last commit is young");
        *store.committed.lock().expect("nobody panicked") = None;
        assert!(!store.ready().await.expect("it can be asked").writable);
        command.execute("rollback").await.expect("it was begun");
        assert!(store.ready().await.expect("it can be asked").writable);
    }
}
