//! The monitor checks that the log explains every quantity, and repairs what the log can repair.
//!
//! In reading order: [`checks`] reads and judges; [`repair`] repairs or accepts one finding; this
//! file decides who runs which check, and when. A check is a row of the database, and anybody may
//! request one. One process at a time runs checks: the holder of the check lease. If it dies, the
//! lease runs out, and another process continues the check.
//!
//! | step | statement | if the process dies here |
//! | --- | --- | --- |
//! | 1 request what is due | `unfinished_checks`, `last_check`, `ask_check` | another process requests it |
//! | 2 take the lease | `take_check_lease` | it runs out after [`CHECK_LEASE`] |
//! | 3 read and note | see [`checks`] | the next holder continues from the last note |
//! | 4 end the check | `end_check` | before: the next holder ends it; after: it has ended |
//! | 5 repair what is safe | see [`repair`], a request id per finding | the finding stays open; a person can repair it |
//! | 6 release the lease | `release_check_lease` | it runs out |

pub mod checks;
pub mod repair;
mod retry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use self::checks::{CHECK_LEASE, Interrupted};
use self::repair::{NotRepaired, RepairAsk, Repaired};
use crate::clock::now;
use crate::domain::consistency::{Check, CheckState, Finding, FindingState, Kind, Range, Remedy};
use crate::domain::time::Timestamp;
use crate::schedule::Schedule;
use crate::store::StoreError;
use crate::store::consistency::{AskedCheck, CheckLease, ConsistencyStore, FindingQuery};
use crate::telemetry::{self, Metrics};

/// How often the monitor looks for due checks, unless it is woken.
const REST: Duration = Duration::from_secs(5);
/// Most checks that wait or run at once.
const MOST_WAITING: i64 = 20;
/// Reports kept; as many settled findings are kept, too.
const KEPT: i64 = 1_000;
/// A recent check begins this long before the start of the last good one. Replicas date rows
/// before the commit, and their clocks may differ.
const MARGIN: Duration = Duration::from_secs(120);
/// Findings that a report lists.
const LISTED: i64 = 500;
/// Most findings that are repaired without a person after one check.
const REPAIRED_AT_ONCE: i64 = 500;

/// What the monitor does without being asked.
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
    started: Timestamp,
    wake: Notify,
}

/// The result of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due.
    Idle,
    /// Another process holds the check lease.
    Elsewhere,
    /// A check has ended.
    Ended(CheckState),
    /// A check was interrupted. The next holder of the lease continues it.
    Interrupted,
}

/// The state of all checks and findings.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The last good check, recent or full.
    pub last_good: Option<Check>,
    /// The last good check of everything.
    pub last_good_full: Option<Check>,
    /// The running check, or else the next one.
    pub unfinished: Option<Check>,
    /// How many findings are open.
    pub open_findings: i64,
}

/// Why a check was not requested.
#[derive(Debug, thiserror::Error)]
pub enum NotAsked {
    /// No row has this number.
    #[error("there is no work order {0}")]
    WorkOrderUnknown(String),
    /// Too many checks wait already.
    #[error("{MOST_WAITING} checks wait or run already")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A check and its findings.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// The check itself.
    #[serde(flatten)]
    pub check: Check,
    /// How long it took, so far.
    pub duration_ms: Option<i64>,
    /// Its findings, newest first, not all if there are many.
    pub findings: Vec<Finding>,
}

impl Monitor {
    /// The monitor of a process; `holder` is a name that no other process has.
    #[must_use]
    pub fn new(store: Arc<dyn ConsistencyStore>, metrics: Arc<Metrics>, holder: String, settings: Settings) -> Self {
        Self { store, metrics, holder, settings, started: now(), wake: Notify::new() }
    }

    /// Where checks and findings are read.
    #[must_use]
    pub fn store(&self) -> &dyn ConsistencyStore {
        self.store.as_ref()
    }

    /// Requests a check. If the same check waits already, that one is returned.
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
            self.wake.notify_one();
            return Ok(waiting);
        }
        let check_id = Uuid::now_v7().to_string();
        let requested_by = requested_by.to_owned();
        let asked = AskedCheck { check_id: check_id.clone(), range, work_order, since, requested_by };
        if !self.store.ask_check(&asked, MOST_WAITING).await? {
            return Err(NotAsked::TooMany);
        }
        self.wake.notify_one();
        let asked = self.store.check(&check_id).await?;
        asked.ok_or_else(|| StoreError::Refused("the check that was just requested is gone".into()).into())
    }

    /// Whether any row has this number: a work order, its log or its claims.
    async fn known(&self, name: &str) -> Result<(), NotAsked> {
        let only = [name.to_owned()];
        match self.store.page(&only, 0).await? {
            Some(page) if page.work_orders.is_empty() => Err(NotAsked::WorkOrderUnknown(name.to_owned())),
            // `None`: there is more of its log or claims than the limit of zero rows.
            Some(_) | None => Ok(()),
        }
    }

    /// A check's progress, or its report.
    ///
    /// # Errors
    /// If the store can't be asked.
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

    /// The state of all checks and findings.
    ///
    /// # Errors
    /// If the store can't be asked.
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

    /// Repairs or accepts what a finding names.
    ///
    /// # Errors
    /// See [`NotRepaired`].
    pub async fn repair(&self, ask: &RepairAsk) -> Result<Repaired, NotRepaired> {
        let repaired = repair::repair(self.store.as_ref(), ask).await?;
        if !repaired.dry_run && !repaired.replayed {
            let (done, work_order) = (&repaired.entry.action, &repaired.entry.work_order);
            info!(done, finding = ask.finding_id, work_order, by = ask.principal, "finding settled");
        }
        Ok(repaired)
    }

    /// Runs what is due, until `stop`. A step that fails is repeated after a rest.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.step(&stop).await {
                // The next check may wait already.
                Ok(Step::Ended(_)) => {}
                Ok(Step::Idle | Step::Elsewhere | Step::Interrupted) => self.rest(&stop).await,
                Err(problem) => {
                    warn!(
                        cause = telemetry::causes(&problem),
                        "the monitor failed, and tries again in {REST:?}: {problem}"
                    );
                    self.rest(&stop).await;
                }
            }
        }
    }

    async fn rest(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.wake.notified() => {}
            () = tokio::time::sleep(REST) => {}
        }
    }

    /// Requests the checks that are due, and runs the one that has waited longest.
    ///
    /// # Errors
    /// If the store can't be asked.
    pub async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        self.ask_due_checks().await?;
        self.metrics.findings_open.set(self.store.open_findings().await?);
        let Some(next) = self.store.unfinished_checks().await?.into_iter().next() else { return Ok(Step::Idle) };
        self.run_check(&next, stop, &|_| {}).await
    }

    /// Runs one check, if this process gets the check lease, and repairs what is safe.
    ///
    /// # Errors
    /// If the store can't be asked.
    pub async fn run_check(
        &self,
        check: &Check,
        stop: &CancellationToken,
        watch: &(dyn Fn(&Check) + Sync),
    ) -> Result<Step, StoreError> {
        let lease = CheckLease { holder: &self.holder, ttl: CHECK_LEASE };
        if !self.store.take_check_lease(&lease).await? {
            return Ok(Step::Elsewhere);
        }
        let began = Instant::now();
        let id = check.check_id.as_str();
        let step = match checks::run(self.store.as_ref(), check, &self.holder, stop, watch).await {
            Ok(read) => {
                let state = checks::end_state(&read);
                self.store.end_check(id, state, None, KEPT).await?;
                self.note_end(&read, state, began);
                if state == CheckState::Drift {
                    self.repair_what_is_safe(id).await?;
                }
                Step::Ended(state)
            }
            Err(Interrupted::Stopped | Interrupted::LeaseLost) => Step::Interrupted,
            Err(Interrupted::Store(problem)) => {
                let cause = telemetry::causes(&problem);
                error!(check = id, cause, "check failed: {problem}");
                self.store.end_check(id, CheckState::Failed, Some(&problem.to_string()), KEPT).await?;
                self.note_end(check, CheckState::Failed, began);
                Step::Ended(CheckState::Failed)
            }
        };
        self.store.release_check_lease(&self.holder).await?;
        Ok(step)
    }

    async fn ask_due_checks(&self) -> Result<(), StoreError> {
        let unfinished = self.store.unfinished_checks().await?;
        for (range, schedule) in [(Range::Full, &self.settings.full), (Range::Recent, &self.settings.recent)] {
            if unfinished.iter().any(|check| check.range == range) {
                continue;
            }
            // A full check counts as a recent one, too.
            let counts: &[Range] = match range {
                Range::Recent => &[Range::Recent, Range::Full],
                Range::Full | Range::WorkOrder | Range::Since => &[Range::Full],
            };
            let last = self.store.last_check(counts, false).await?.and_then(|check| check.started_at);
            // If no check ever ran, the first one is due one interval after the start.
            let due = schedule.next_after(last.unwrap_or(self.started));
            if due.is_some_and(|due| due <= now()) {
                match self.ask(range, None, None, "schedule").await {
                    // Then it stays due, and the next step requests it.
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
        info!(check_id, range, state, work_orders_read, rows_read, findings_seen, "check ended");
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
                // Every process uses the same id, so it is done once.
                request_id: format!("monitor-{}", finding.finding_id),
                finding_id: finding.finding_id.clone(),
                dry_run: false,
                accept: false,
                reason: "repaired by the monitor, as configured".to_owned(),
                operator: None,
                principal: "monitor".to_owned(),
            };
            if let Err(problem) = self.repair(&ask).await {
                warn!(finding = finding.finding_id, "finding not repaired: {problem}");
            }
        }
        Ok(())
    }
}
