//! The monitor: proves, on a schedule and on demand, that every quantity is explained by
//! its log, and sets right what the log can set right.
//!
//! In reading order: what a log says ([`ledger`]) and which barcodes stand counted
//! ([`parts`]), both pure; what of it a person has [`accepted`]; the reading ([`check`]);
//! what is done about a finding ([`repair`]); and here who runs what, and when. Checks are
//! rows of the database: asked for by anybody, run by one process at a time, gone on with
//! by another if it dies.

pub mod accepted;
pub mod check;
pub mod ledger;
pub mod parts;
pub mod repair;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use self::check::{Cut, TURN};
use self::repair::{NotRepaired, RepairAsk, Repaired};
use crate::domain::consistency::{Check, CheckState, Finding, FindingState, Kind, Range, Remedy};
use crate::domain::time::Timestamp;
use crate::schedule::Schedule;
use crate::store::StoreError;
use crate::store::consistency::{AskedCheck, ConsistencyStore, FindingQuery};
use crate::telemetry::{self, Metrics};

/// How often the monitor looks whether something is due, unless it is woken.
const LOOKS_EVERY: Duration = Duration::from_secs(5);
/// Most checks that wait or run at once, whoever asked for them.
const MOST_WAITING: i64 = 20;
/// Reports kept, and as many settled findings.
const KEPT: i64 = 1_000;
/// By how much a recent check reaches back beyond the start of the last good one: rows are
/// dated by the clocks of the replicas, which may differ, before they are committed.
const MARGIN: Duration = Duration::from_secs(120);
/// Findings that a report lists.
const LISTED: i64 = 500;
/// Findings that one check repairs by itself.
const REPAIRED_AT_ONCE: i64 = 500;

/// What the monitor does by itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When recent work orders are checked.
    pub recent: Schedule,
    /// When all are checked.
    pub full: Schedule,
    /// Which kinds are repaired without being asked.
    pub repair: Vec<Kind>,
}

/// The monitor of one process.
pub struct Monitor {
    store: Arc<dyn ConsistencyStore>,
    metrics: Arc<Metrics>,
    holder: String,
    settings: Settings,
    /// Since when this process would have noticed that a check is due.
    born: Timestamp,
    poked: Notify,
}

/// What one look at what is due came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due.
    Idle,
    /// Another process runs checks.
    Elsewhere,
    /// A check came to its end.
    Ended(CheckState),
    /// A check was left to whoever is next.
    Left,
}

/// Where all stands.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The last good check of each kind of range.
    pub last_good: Option<Check>,
    /// The last good check of everything.
    pub last_good_full: Option<Check>,
    /// The check at work, or else the next one.
    pub unfinished: Option<Check>,
    /// How many findings are open.
    pub open_findings: i64,
}

/// Why a check is not asked for.
#[derive(Debug, thiserror::Error)]
pub enum NotAsked {
    /// Nothing has this number.
    #[error("there is no work order {0}")]
    WorkOrderUnknown(String),
    /// As many wait as may.
    #[error("{MOST_WAITING} checks wait or run already")]
    TooMany,
    /// The store can't be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A check and what it found.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// The check itself.
    #[serde(flatten)]
    pub check: Check,
    /// How long it took, so far.
    pub duration_ms: Option<i64>,
    /// What it saw, the newest of it.
    pub findings: Vec<Finding>,
}

impl Monitor {
    /// The monitor of a process; `holder` tells it from all others.
    #[must_use]
    pub fn new(store: Arc<dyn ConsistencyStore>, metrics: Arc<Metrics>, holder: String, settings: Settings) -> Self {
        Self { store, metrics, holder, settings, born: now(), poked: Notify::new() }
    }

    /// Where checks and findings are read.
    #[must_use]
    pub fn store(&self) -> &dyn ConsistencyStore {
        self.store.as_ref()
    }

    /// Asks for a check. Who asks for what waits already is given that one.
    ///
    /// # Errors
    /// See [`NotAsked`].
    pub async fn ask(
        &self,
        range: Range,
        work_order: Option<String>,
        since: Option<Timestamp>,
        requested_by: &str,
    ) -> Result<Check, NotAsked> {
        if let Some(name) = &work_order {
            self.known(name).await?;
        }
        let since = match range {
            Range::Recent => self.recent_since().await?,
            Range::Full | Range::WorkOrder | Range::Since => since,
        };
        let same = |check: &Check| {
            let since = range == Range::Recent || check.since == since;
            check.state == CheckState::Waiting && check.range == range && check.work_order == work_order && since
        };
        if let Some(waiting) = self.store.unfinished_checks().await?.into_iter().find(same) {
            self.poked.notify_one();
            return Ok(waiting);
        }
        let check_id = Uuid::now_v7().to_string();
        let requested_by = requested_by.to_owned();
        let asked = AskedCheck { check_id: check_id.clone(), range, work_order, since, requested_by };
        if !self.store.ask_check(&asked, MOST_WAITING).await? {
            return Err(NotAsked::TooMany);
        }
        self.poked.notify_one();
        let asked = self.store.check(&check_id).await?;
        asked.ok_or_else(|| StoreError::Refused("a check is gone that was just asked for".into()).into())
    }

    /// Whether any row has this number: of a work order, or left behind by none.
    async fn known(&self, name: &str) -> Result<(), NotAsked> {
        let only = [name.to_owned()];
        match self.store.page(&only, 0).await? {
            Some(page) if page.work_orders.is_empty() => Err(NotAsked::WorkOrderUnknown(name.to_owned())),
            // A row is there, or more than none of log and claims.
            Some(_) | None => Ok(()),
        }
    }

    /// A check's progress, or its report.
    ///
    /// # Errors
    /// Where the store can't be asked.
    pub async fn report(&self, check_id: &str) -> Result<Option<Report>, StoreError> {
        let Some(check) = self.store.check(check_id).await? else { return Ok(None) };
        let query = FindingQuery { check_id: Some(check_id.to_owned()), limit: LISTED, ..FindingQuery::default() };
        let findings = self.store.findings(&query).await?;
        let until = check.finished_at.or(check.advanced_at);
        let duration = check.started_at.zip(until).map(|(from, to)| to.to_utc() - from.to_utc());
        Ok(Some(Report { check, duration_ms: duration.map(|duration| duration.num_milliseconds()), findings }))
    }

    /// Work orders that may have changed since the last good check began to read.
    async fn recent_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let last = self.store.last_check(&[Range::Recent, Range::Full], true).await?;
        let started = last.and_then(|check| check.started_at);
        Ok(started.and_then(|started| Timestamp::cut(started.to_utc() - MARGIN)))
    }

    /// Where all stands.
    ///
    /// # Errors
    /// Where the store can't be asked.
    pub async fn verdict(&self) -> Result<Verdict, StoreError> {
        let open_findings = self.store.open_findings().await?;
        self.metrics.findings_open.set(open_findings);
        Ok(Verdict {
            last_good: self.store.last_check(&[Range::Recent, Range::Full], true).await?,
            last_good_full: self.store.last_check(&[Range::Full], true).await?,
            unfinished: self.store.unfinished_checks().await?.into_iter().next(),
            open_findings,
        })
    }

    /// Repairs what a finding names, or accepts it as it is.
    ///
    /// # Errors
    /// See [`NotRepaired`].
    pub async fn repair(&self, ask: &RepairAsk) -> Result<Repaired, NotRepaired> {
        let repaired = repair::repair(self.store.as_ref(), ask).await?;
        if !repaired.dry_run && !repaired.replayed {
            let (done, work_order) = (&repaired.entry.action, &repaired.entry.work_order);
            info!(done, finding = ask.finding_id, work_order, by = ask.principal, "a finding is settled");
        }
        Ok(repaired)
    }

    /// Looks at what is due until `stop`. What fails is tried again at the next look.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.step(&stop).await {
                // What else waits is not kept waiting.
                Ok(Step::Ended(_)) => {}
                Ok(Step::Idle | Step::Elsewhere | Step::Left) => self.rest(&stop).await,
                Err(problem) => {
                    warn!(cause = telemetry::causes(&problem), "the monitor: {problem}");
                    self.rest(&stop).await;
                }
            }
        }
    }

    async fn rest(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.poked.notified() => {}
            () = tokio::time::sleep(LOOKS_EVERY) => {}
        }
    }

    /// Asks for the checks that are due, and runs the one that has waited longest.
    ///
    /// # Errors
    /// Where the store can't be asked.
    pub async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        self.ask_what_is_due().await?;
        self.metrics.findings_open.set(self.store.open_findings().await?);
        let Some(next) = self.store.unfinished_checks().await?.into_iter().next() else { return Ok(Step::Idle) };
        self.run_check(&next, stop, &|_| {}).await
    }

    /// Runs one check, if it is this process's turn, and repairs what it may.
    ///
    /// # Errors
    /// Where the store can't be asked.
    pub async fn run_check(
        &self,
        check: &Check,
        stop: &CancellationToken,
        watch: &(dyn Fn(&Check) + Sync),
    ) -> Result<Step, StoreError> {
        if !self.store.take_turn(&self.holder, TURN).await? {
            return Ok(Step::Elsewhere);
        }
        let began = Instant::now();
        let id = check.check_id.as_str();
        let step = match check::run(self.store.as_ref(), check, &self.holder, stop, watch).await {
            Ok(read) => {
                let state = check::verdict(&read);
                self.store.end_check(id, state, None, KEPT).await?;
                self.note_end(&read, state, began);
                if state == CheckState::Drift {
                    self.repair_what_is_safe(id).await?;
                }
                Step::Ended(state)
            }
            Err(Cut::Stopped | Cut::TurnLost) => Step::Left,
            Err(Cut::Store(problem)) => {
                let cause = telemetry::causes(&problem);
                error!(check = id, cause, "a check failed: {problem}");
                self.store.end_check(id, CheckState::Failed, Some(&problem.to_string()), KEPT).await?;
                self.note_end(check, CheckState::Failed, began);
                Step::Ended(CheckState::Failed)
            }
        };
        self.store.end_turn(&self.holder).await?;
        Ok(step)
    }

    async fn ask_what_is_due(&self) -> Result<(), StoreError> {
        let unfinished = self.store.unfinished_checks().await?;
        for (range, schedule) in [(Range::Full, &self.settings.full), (Range::Recent, &self.settings.recent)] {
            if unfinished.iter().any(|check| check.range == range) {
                continue;
            }
            // A full check is a recent one too.
            let counts: &[Range] = match range {
                Range::Recent => &[Range::Recent, Range::Full],
                Range::Full | Range::WorkOrder | Range::Since => &[Range::Full],
            };
            let last = self.store.last_check(counts, false).await?.and_then(|check| check.started_at);
            // What was due before this process was there is due at once if it was ever done.
            let due = schedule.next_after(last.unwrap_or(self.born));
            if due.is_some_and(|due| due <= now()) {
                match self.ask(range, None, None, "schedule").await {
                    // It is due still when fewer wait.
                    Ok(_) | Err(NotAsked::TooMany | NotAsked::WorkOrderUnknown(_)) => {}
                    Err(NotAsked::Store(problem)) => return Err(problem),
                }
            }
        }
        Ok(())
    }

    fn note_end(&self, check: &Check, state: CheckState, began: Instant) {
        self.metrics.check(check.range.word(), state.word(), began.elapsed(), check.rows_read);
        let Check { check_id, work_orders_read, rows_read, findings_seen, .. } = check;
        let (range, state) = (check.range.word(), state.word());
        info!(check_id, range, state, work_orders_read, rows_read, findings_seen, "a check has ended");
    }

    async fn repair_what_is_safe(&self, check_id: &str) -> Result<(), StoreError> {
        if self.settings.repair.is_empty() {
            return Ok(());
        }
        let query = FindingQuery {
            state: Some(FindingState::Open),
            check_id: Some(check_id.to_owned()),
            limit: REPAIRED_AT_ONCE,
            ..FindingQuery::default()
        };
        let safe = |finding: &Finding| finding.remedy == Remedy::Repair && self.settings.repair.contains(&finding.kind);
        for finding in self.store.findings(&query).await?.into_iter().filter(safe) {
            let ask = RepairAsk {
                // The same whoever tries, so that it is done once.
                request_id: format!("monitor-{}", finding.finding_id),
                finding_id: finding.finding_id.clone(),
                dry_run: false,
                accept: false,
                reason: "repaired by the monitor, as configured".to_owned(),
                operator: None,
                principal: "monitor".to_owned(),
            };
            if let Err(problem) = self.repair(&ask).await {
                warn!(finding = finding.finding_id, "not repaired: {problem}");
            }
        }
        Ok(())
    }
}

fn now() -> Timestamp {
    Timestamp::cut(Utc::now()).expect("the clock stands before the year 10000")
}
