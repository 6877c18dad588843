//! Compares what is wrong with the alarms that are open, and puts the difference into the outbox.
//!
//! | step | statement | if the process dies here |
//! | --- | --- | --- |
//! | 1 report what only this process sees; take the watch lease | `report_sightings` | both run out; another replica takes the lease |
//! | 2 read what is wrong and the known alarms | `conditions` | nothing is written |
//! | 3 write changed alarms and their messages | `record`, one transaction | all of it is written or nothing |
//! | 4 once a minute: delete what is old | `clean_up` | the next holder of the lease does it |
//!
//! Everything is read anew in each step. So any replica can do it, also one that has just started. Only
//! the process itself sees that its Redis or database does not answer, or that requests come again from
//! another sender. It reports that to the others through the store. If the store itself is down, each replica tells people directly, and records that
//! later.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};
use uuid::Uuid;

use super::WeakKeys;
use super::senders::{Delivered, NotDelivered, Sender};
use super::{sightings, wording};
use crate::domain::alarm::{Alarm, Cause, Changes, Kind, Notice, Phase, SOON_AGAIN, Sighting, reconcile};
use crate::domain::outbox::{MOST_WAITING, TOO_OLD};

use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::alarms::{
    AlarmStore, Checks, CleanUpLimits, ConditionQuery, Conditions, NewMessage, Record, Report, WatchLease,
};
use crate::telemetry::{self, Metrics};

/// How often a replica looks. An alarm is for people, who take longer.
pub const WATCH_EVERY: Duration = Duration::from_secs(10);
/// How long the watch lease lasts. Each step renews it; two steps may be missed.
const WATCH_LEASE: Duration = Duration::from_secs(35);
/// A sighting that was not renewed for this long is over.
const SEEN_LATELY: Duration = Duration::from_secs(45);
/// A finding raises an alarm for at least this long, even if it is repaired sooner. Longer than
/// another replica needs to take the watch lease.
const FOUND_LATELY: Duration = Duration::from_secs(90);
/// How often old messages and alarms are deleted.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(60);
/// For how long delivered messages and resolved alarms are kept.
const KEEP_MESSAGES: Duration = Duration::from_secs(7 * 24 * 3600);
const KEEP_ALARMS: Duration = Duration::from_secs(90 * 24 * 3600);

/// Until when the next check should end, if the last one ended at the given time; `None`: no check
/// is due.
pub type Due = Arc<dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync>;

/// What raises an alarm, as configured.
#[derive(Clone)]
pub struct Settings {
    /// How long Redis or the database may be down before an alarm.
    pub after: Duration,
    /// This many refused duplicates at one station are a burst.
    pub duplicates: i64,
    /// Within this time.
    pub duplicates_within: Duration,
    /// When checks are due, by range.
    pub due: Vec<(&'static str, Due)>,
}

/// The replica that watches.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Names the process. No other process has this name.
    pub holder: String,
    /// Its name for people, as host and port.
    pub name: String,
}

/// What only this process sees.
pub struct Own {
    /// Whether its Redis is away.
    pub lease_is_away: Box<dyn Fn() -> bool + Send + Sync>,
    /// Requests that came again from another sender.
    pub weak_keys: Arc<WeakKeys>,
}

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another replica holds the watch lease.
    Elsewhere,
    /// Nothing has changed.
    Nothing,
    /// The changes were written, with messages for every channel.
    Told(Vec<Notice>),
    /// Another replica wrote first. The next step sees what it wrote.
    Overtaken,
    /// The store fails. These channels were told so directly.
    StorageFails(Vec<String>),
}

impl Step {
    /// Whether there are new messages in the outbox.
    #[must_use]
    pub fn has_told(&self) -> bool {
        match self {
            Self::Told(_) => true,
            Self::Elsewhere | Self::Nothing | Self::Overtaken | Self::StorageFails(_) => false,
        }
    }
}

/// Watches what is wrong, for one process.
pub struct Watch {
    store: Arc<dyn AlarmStore>,
    senders: Vec<Arc<Sender>>,
    metrics: Arc<Metrics>,
    settings: Settings,
    replica: Replica,
    own: Own,
    lease_away_since: Option<Timestamp>,
    store_failure: Option<StoreFailure>,
    started: Timestamp,
    cleaned_up: Timestamp,
}

/// The store has failed since then.
struct StoreFailure {
    since: Timestamp,
    error: String,
    /// The channels that were told directly.
    told: HashSet<String>,
}

impl Watch {
    /// Watches from `now` on.
    #[must_use]
    pub fn new(
        store: Arc<dyn AlarmStore>,
        senders: Vec<Arc<Sender>>,
        metrics: Arc<Metrics>,
        settings: Settings,
        replica: Replica,
        own: Own,
        now: Timestamp,
    ) -> Self {
        Self {
            store,
            senders,
            metrics,
            settings,
            replica,
            own,
            lease_away_since: None,
            store_failure: None,
            started: now,
            cleaned_up: now,
        }
    }

    /// The process that watches.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.replica.holder
    }

    /// Looks once.
    pub async fn step(&mut self, now: Timestamp) -> Step {
        match self.look(now).await {
            Ok(step) => match self.store_failure.take() {
                Some(failure) => self.record_failure(failure, step, now).await,
                None => step,
            },
            Err(error) => self.tell_directly(&error, now).await,
        }
    }

    async fn look(&mut self, now: Timestamp) -> Result<Step, StoreError> {
        let report = Report {
            lease: WatchLease { holder: self.replica.holder.clone(), until: now.later(WATCH_LEASE) },
            sightings: self.own_sightings(now),
            now,
        };
        if !self.store.report_sightings(&report).await? {
            // The metric is shown by the holder of the lease.
            self.show(&[]);
            return Ok(Step::Elsewhere);
        }
        let query = ConditionQuery {
            seen_after: now.before(SEEN_LATELY),
            found_after: now.before(FOUND_LATELY),
            duplicates: (now.before(self.settings.duplicates_within), self.settings.duplicates),
            resolved_after: now.before(SOON_AGAIN),
        };
        let conditions = self.store.conditions(&query).await?;
        let alarms = conditions.alarms.clone();
        let sightings = self.sightings(conditions, now);
        let changes = reconcile(now, &sightings, &alarms, &mut fresh_id);
        let step = self.record(changes, &HashSet::new(), now).await?;
        // After a change the next step shows the new number.
        if step == Step::Nothing {
            self.show(&alarms);
        }
        if now.since(self.cleaned_up) >= CLEAN_UP_EVERY {
            self.cleaned_up = now;
            self.clean_up(now).await?;
        }
        Ok(step)
    }

    /// What only this process can see.
    fn own_sightings(&mut self, now: Timestamp) -> Vec<Sighting> {
        self.lease_away_since = match (self.own.lease_is_away)() {
            true => self.lease_away_since.or(Some(now)),
            false => None,
        };
        let long = self.lease_away_since.filter(|&since| now.since(since) >= self.settings.after);
        let cause = || Cause::LeaseAway { replicas: [self.replica.name.clone()].into() };
        let away = long.map(|since| Sighting { cause: cause(), since });
        away.into_iter().chain(self.own.weak_keys.sighting(&self.replica.name, now)).collect()
    }

    /// Everything that is wrong.
    fn sightings(&self, conditions: Conditions, now: Timestamp) -> Vec<Sighting> {
        let Conditions { mut sightings, drifting, checks, bursts, alarms: _ } = conditions;
        sightings.extend(drifting.into_iter().map(sightings::of_drift));
        sightings.extend(bursts.into_iter().map(|burst| sightings::of_burst(burst, self.settings.duplicates_within)));
        for checks in checks {
            let due = self.due(&checks);
            sightings.extend(sightings::of_checks(checks, due, now));
        }
        sightings
    }

    /// Until when the next check of this range should end.
    fn due(&self, checks: &Checks) -> Option<Timestamp> {
        let (_, due) = self.settings.due.iter().find(|(range, _)| *range == checks.range)?;
        // Before the first check has ended, the start of the service counts.
        due(checks.last_read.unwrap_or(self.started))
    }

    /// Writes changes and messages. Channels in `told` know already what fires.
    async fn record(&self, changes: Changes, told: &HashSet<String>, now: Timestamp) -> Result<Step, StoreError> {
        if changes.is_empty() {
            return Ok(Step::Nothing);
        }
        let notices = changes.notices(now);
        let messages = notices.iter().flat_map(|notice| {
            let gets = self.senders.iter().map(|sender| sender.channel()).filter(|channel| channel.gets(notice.kind));
            let knows = |name: &str| notice.phase == Phase::Firing && told.contains(name);
            gets.filter(move |channel| !knows(&channel.name)).map(|channel| NewMessage {
                message_id: fresh_id(),
                channel: channel.name.clone(),
                notice: notice.clone(),
            })
        });
        let messages = messages.collect();
        let record = Record { changes, messages, now };
        if !self.store.record(&record).await? {
            return Ok(Step::Overtaken);
        }
        for alarm in &record.changes.fired {
            warn!(alarm = alarm.cause.kind().word(), key = alarm.cause.key(), since = %alarm.since, "alarm firing");
        }
        for alarm in &record.changes.resolved {
            info!(alarm = alarm.cause.kind().word(), key = alarm.cause.key(), "alarm resolved");
        }
        if notices.is_empty() { Ok(Step::Nothing) } else { Ok(Step::Told(notices)) }
    }

    /// Remembers that the store fails. If that lasts, tells people without it, each channel once.
    async fn tell_directly(&mut self, error: &StoreError, now: Timestamp) -> Step {
        let error = format!("{error}: {}", telemetry::causes(error));
        warn!(cause = error, "the alarms can't use the database");
        let failure = self.store_failure.get_or_insert_with(|| StoreFailure {
            since: now,
            error: String::new(),
            told: HashSet::new(),
        });
        failure.error = error;
        if now.since(failure.since) < self.settings.after {
            return Step::StorageFails(Vec::new());
        }
        let sighting = Sighting { cause: self.replica.storage_failing(failure), since: failure.since };
        let notice =
            Notice { phase: Phase::Firing, kind: Kind::StorageFailing, at: now, alarms: vec![sighting], more: 0 };
        let left = self.senders.iter().filter(|sender| {
            let channel = sender.channel();
            channel.gets(Kind::StorageFailing) && !failure.told.contains(&channel.name)
        });
        let sends = left.map(|sender| async {
            let channel = sender.channel();
            let message = wording::message(&notice, &fresh_id(), channel.language);
            (channel.name.clone(), sender.send(&message, now).await)
        });
        let mut told = Vec::new();
        for (channel, sent) in join_all(sends).await {
            match sent {
                Ok(Delivered { .. }) => {
                    self.metrics.alarm_message(&channel, "delivered");
                    told.push(channel);
                }
                Err(NotDelivered { why, .. }) => {
                    self.metrics.alarm_message(&channel, "failed");
                    warn!(channel, cause = why, "alarm message not delivered; it will be retried");
                }
            }
        }
        failure.told.extend(told.iter().cloned());
        Step::StorageFails(told)
    }

    /// Records that the store failed, now that it works again. From then on the alarm is like any
    /// other: it is resolved after the store has worked for a while.
    async fn record_failure(&mut self, failure: StoreFailure, step: Step, now: Timestamp) -> Step {
        if now.since(failure.since) < self.settings.after {
            return step;
        }
        let alarm = Alarm {
            alarm_id: fresh_id(),
            cause: self.replica.storage_failing(&failure),
            since: failure.since,
            fired_at: now,
            clear_since: None,
            resolved_at: None,
            recurrences: 0,
        };
        let changes = Changes { fired: vec![alarm], ..Changes::default() };
        match self.record(changes, &failure.told, now).await {
            Ok(written) => {
                if step.has_told() {
                    step
                } else {
                    written
                }
            }
            Err(_) => {
                self.store_failure = Some(failure);
                step
            }
        }
    }

    /// Shows how many alarms are open, by kind.
    fn show(&self, known: &[Alarm]) {
        for &kind in Kind::ALL {
            let open = known.iter().filter(|alarm| alarm.resolved_at.is_none() && alarm.cause.kind() == kind);
            self.metrics.alarms_open(kind.word(), open.count());
        }
    }

    async fn clean_up(&self, now: Timestamp) -> Result<(), StoreError> {
        let limits = CleanUpLimits {
            now,
            waiting_after: now.before(TOO_OLD),
            most_waiting: MOST_WAITING,
            settled_after: now.before(KEEP_MESSAGES),
            resolved_after: now.before(KEEP_ALARMS),
            seen_after: now.before(10 * WATCH_EVERY),
        };
        for dropped in self.store.clean_up(&limits).await? {
            warn!(
                channel = dropped.channel,
                dropped = dropped.dropped,
                "alarm messages of a channel dropped: too old or too many"
            );
            // Only of configured channels, so that the number of labels stays bounded.
            if self.senders.iter().any(|sender| sender.channel().name == dropped.channel) {
                self.metrics.alarm_messages_dropped(&dropped.channel, dropped.dropped);
            }
        }
        Ok(())
    }
}

impl Replica {
    fn storage_failing(&self, failure: &StoreFailure) -> Cause {
        Cause::StorageFailing { replica: self.name.clone(), error: failure.error.clone() }
    }
}

fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}
