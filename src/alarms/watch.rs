//! Compares what is wrong with what was told, and puts the difference into the outbox.
//!
//! What is wrong is read from the tables each time anew, so it does not matter which
//! replica looks, or whether one was started a moment ago. What only one process can see,
//! that its Redis or its database is away, it reports to the others through the store;
//! and while the store itself is away, it tells people directly and writes that down later.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};
use uuid::Uuid;

use super::{WATCH_EVERY, wording};
use crate::alarms::senders::{Refused, Sender, Taken};
use crate::domain::alarm::{Alarm, Cause, Changes, Kind, Notice, Phase, SOON_AGAIN, Sighting, reconcile};
use crate::domain::outbox::TOO_OLD;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::alarms::{AlarmStore, Bounds, Checks, NewMessage, Question, Record, Report, Survey};
use crate::telemetry::{self, Metrics};

/// How long a process has the turn unless it renews it: two missed steps and a bit.
const TURN: Duration = Duration::from_secs(35);
/// A sighting that was not renewed for so long is over.
const SEEN_LATELY: Duration = Duration::from_secs(45);
/// A finding is told of at least for so long, however soon it is repaired: longer than it
/// takes another replica to take over the turn.
const FOUND_LATELY: Duration = Duration::from_secs(90);
/// A check that still runs is not overdue while it gets on.
const GETS_ON: Duration = Duration::from_secs(5 * 60);
/// How often the old is thrown away.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// For how long delivered messages and resolved alarms are kept.
const KEEP_MESSAGES: Duration = Duration::from_secs(7 * 24 * 3600);
const KEEP_ALARMS: Duration = Duration::from_secs(90 * 24 * 3600);

/// When, at the latest, a check is to have ended after the last one ended at the given
/// time; `None`: no such check is due.
pub type Due = Arc<dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync>;

/// What raises an alarm, as configured.
#[derive(Clone)]
pub struct Settings {
    /// How long Redis or the database may be away.
    pub after: Duration,
    /// So many refused duplicates at one station are a burst.
    pub duplicates: i64,
    /// Within this time.
    pub duplicates_within: Duration,
    /// When checks are due, by range.
    pub due: Vec<(&'static str, Due)>,
}

/// Who watches.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The process: a word that no other one has.
    pub holder: String,
    /// Its name for people.
    pub name: String,
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another replica has the turn.
    NotOurTurn,
    /// Nothing has changed.
    Nothing,
    /// What changed was written, with messages for every channel.
    Told(Vec<Notice>),
    /// Another replica was faster; the next step sees what it wrote.
    Overtaken,
    /// The store fails; these channels were told so directly.
    StorageFails(Vec<String>),
}

impl Step {
    /// Whether there are new messages in the outbox.
    #[must_use]
    pub fn has_told(&self) -> bool {
        match self {
            Self::Told(_) => true,
            Self::NotOurTurn | Self::Nothing | Self::Overtaken | Self::StorageFails(_) => false,
        }
    }
}

/// Watches over the plant.
pub struct Watch {
    store: Arc<dyn AlarmStore>,
    senders: Vec<Arc<Sender>>,
    metrics: Arc<Metrics>,
    settings: Settings,
    replica: Replica,
    lease_is_away: Box<dyn Fn() -> bool + Send + Sync>,
    lease_away_since: Option<Timestamp>,
    trouble: Option<Trouble>,
    started: Timestamp,
    pruned: Timestamp,
}

/// The store has been failing.
struct Trouble {
    since: Timestamp,
    error: String,
    /// The channels that were told directly.
    told: HashSet<String>,
}

impl Watch {
    /// Watches from `now` on. `lease_is_away` says whether this replica's Redis is.
    #[must_use]
    pub fn new(
        store: Arc<dyn AlarmStore>,
        senders: Vec<Arc<Sender>>,
        metrics: Arc<Metrics>,
        settings: Settings,
        replica: Replica,
        lease_is_away: Box<dyn Fn() -> bool + Send + Sync>,
        now: Timestamp,
    ) -> Self {
        Self {
            store,
            senders,
            metrics,
            settings,
            replica,
            lease_is_away,
            lease_away_since: None,
            trouble: None,
            started: now,
            pruned: now,
        }
    }

    /// The process that watches.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.replica.holder
    }

    /// Looks once, and says what it came to.
    pub async fn step(&mut self, now: Timestamp) -> Step {
        match self.look(now).await {
            Ok(step) => match self.trouble.take() {
                Some(trouble) => self.write_down(trouble, step, now).await,
                None => step,
            },
            Err(error) => self.tell_directly(&error, now).await,
        }
    }

    async fn look(&mut self, now: Timestamp) -> Result<Step, StoreError> {
        let report = Report {
            holder: self.replica.holder.clone(),
            sightings: self.own_sightings(now),
            now,
            turn_until: now.later(TURN),
        };
        if !self.store.report(&report).await? {
            // Whoever has the turn shows them.
            self.show(&[]);
            return Ok(Step::NotOurTurn);
        }
        let question = Question {
            seen_after: now.before(SEEN_LATELY),
            found_after: now.before(FOUND_LATELY),
            duplicates: (now.before(self.settings.duplicates_within), self.settings.duplicates),
            resolved_after: now.before(SOON_AGAIN),
        };
        let survey = self.store.survey(&question).await?;
        let alarms = survey.alarms.clone();
        let sightings = self.sightings(survey, now);
        let changes = reconcile(now, &sightings, &alarms, &mut fresh_id);
        let step = self.record(changes, &HashSet::new(), now).await?;
        // After a change the next step counts anew.
        if step == Step::Nothing {
            self.show(&alarms);
        }
        if now.since(self.pruned) >= PRUNE_EVERY {
            self.pruned = now;
            self.prune(now).await?;
        }
        Ok(step)
    }

    /// What this process alone can see.
    fn own_sightings(&mut self, now: Timestamp) -> Vec<Sighting> {
        self.lease_away_since = match (self.lease_is_away)() {
            true => self.lease_away_since.or(Some(now)),
            false => None,
        };
        let long = self.lease_away_since.filter(|&since| now.since(since) >= self.settings.after);
        let cause = || Cause::LeaseAway { replicas: [self.replica.name.clone()].into() };
        long.map(|since| Sighting { cause: cause(), since }).into_iter().collect()
    }

    /// All that is wrong.
    fn sightings(&self, survey: Survey, now: Timestamp) -> Vec<Sighting> {
        let Survey { mut sightings, drifting, checks, bursts, alarms: _ } = survey;
        sightings.extend(drifting.into_iter().map(Sighting::from));
        sightings.extend(bursts.into_iter().map(|burst| burst.seen_within(self.settings.duplicates_within)));
        for checks in checks {
            sightings.extend(self.overdue(&checks, now));
            if let Some(since) = checks.failed_at {
                let error = checks.error.unwrap_or_default();
                sightings.push(Sighting { cause: Cause::CheckFailing { range: checks.range, error }, since });
            }
        }
        sightings
    }

    fn overdue(&self, checks: &Checks, now: Timestamp) -> Option<Sighting> {
        let (_, due) = self.settings.due.iter().find(|(range, _)| *range == checks.range)?;
        if checks.last_advance.is_some_and(|at| now.since(at) < GETS_ON) {
            return None;
        }
        // Before the first check ended, it is the start of the service that counts.
        let due = due(checks.last_read.unwrap_or(self.started))?;
        let cause = Cause::CheckOverdue { range: checks.range.clone(), last_finished: checks.last_read };
        (due <= now).then_some(Sighting { cause, since: due })
    }

    /// Writes changes and messages; channels in `told` know of what fires already.
    async fn record(&self, changes: Changes, told: &HashSet<String>, now: Timestamp) -> Result<Step, StoreError> {
        if changes.is_empty() {
            return Ok(Step::Nothing);
        }
        let notices = changes.notices(now);
        let messages = notices.iter().flat_map(|notice| {
            let gets = self.senders.iter().map(|sender| sender.channel()).filter(|channel| channel.gets(notice.kind));
            let knows = |name: &str| notice.turn == Phase::Firing && told.contains(name);
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
            warn!(alarm = alarm.cause.kind().word(), key = alarm.cause.key(), since = %alarm.since, "an alarm fires");
        }
        for alarm in &record.changes.resolved {
            info!(alarm = alarm.cause.kind().word(), key = alarm.cause.key(), "an alarm is resolved");
        }
        if notices.is_empty() { Ok(Step::Nothing) } else { Ok(Step::Told(notices)) }
    }

    /// Notes that the store fails. Once it has for long, people are told without it, each
    /// channel once.
    async fn tell_directly(&mut self, error: &StoreError, now: Timestamp) -> Step {
        let error = format!("{error}: {}", telemetry::causes(error));
        warn!(cause = error, "the store of alarms fails");
        let trouble =
            self.trouble.get_or_insert_with(|| Trouble { since: now, error: String::new(), told: HashSet::new() });
        trouble.error = error;
        if now.since(trouble.since) < self.settings.after {
            return Step::StorageFails(Vec::new());
        }
        let sighting = Sighting { cause: self.replica.storage_failing(trouble), since: trouble.since };
        let notice =
            Notice { turn: Phase::Firing, kind: Kind::StorageFailing, at: now, alarms: vec![sighting], more: 0 };
        let left = self.senders.iter().filter(|sender| {
            let channel = sender.channel();
            channel.gets(Kind::StorageFailing) && !trouble.told.contains(&channel.name)
        });
        let sends = left.map(|sender| async {
            let channel = sender.channel();
            let letter = wording::letter(&notice, &fresh_id(), channel.language);
            (channel.name.clone(), sender.send(&letter, now).await)
        });
        let mut told = Vec::new();
        for (channel, sent) in join_all(sends).await {
            match sent {
                Ok(Taken { .. }) => {
                    self.metrics.alarm_message(&channel, "delivered");
                    told.push(channel);
                }
                Err(Refused { why, .. }) => {
                    self.metrics.alarm_message(&channel, "failed");
                    warn!(channel, cause = why, "an alarm's message was not delivered");
                }
            }
        }
        trouble.told.extend(told.iter().cloned());
        Step::StorageFails(told)
    }

    /// Writes down that the store has failed, now that it takes it. From here on the alarm
    /// is like any other: it is resolved once the store has been well for a while.
    async fn write_down(&mut self, trouble: Trouble, step: Step, now: Timestamp) -> Step {
        if now.since(trouble.since) < self.settings.after {
            return step;
        }
        let alarm = Alarm {
            alarm_id: fresh_id(),
            cause: self.replica.storage_failing(&trouble),
            since: trouble.since,
            fired_at: now,
            clear_since: None,
            resolved_at: None,
            recurrences: 0,
        };
        let changes = Changes { fired: vec![alarm], ..Changes::default() };
        match self.record(changes, &trouble.told, now).await {
            Ok(written) => {
                if step.has_told() {
                    step
                } else {
                    written
                }
            }
            Err(_) => {
                self.trouble = Some(trouble);
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

    async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        let bounds = Bounds {
            now,
            waiting_after: now.before(TOO_OLD),
            settled_after: now.before(KEEP_MESSAGES),
            resolved_after: now.before(KEEP_ALARMS),
            seen_after: now.before(10 * WATCH_EVERY),
        };
        for dropped in self.store.prune(&bounds).await? {
            warn!(channel = dropped.channel, dropped = dropped.dropped, "messages of alarms were given up");
            // Only of channels there are: the label stays bounded.
            if self.senders.iter().any(|sender| sender.channel().name == dropped.channel) {
                self.metrics.alarm_messages_dropped(&dropped.channel, dropped.dropped);
            }
        }
        Ok(())
    }
}

impl Replica {
    fn storage_failing(&self, trouble: &Trouble) -> Cause {
        Cause::StorageFailing { replica: self.name.clone(), error: trouble.error.clone() }
    }
}

fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}
