//! The store of alarms: what is wrong as the tables show it, the alarms that are open, and
//! the outbox of what there is to tell.
//!
//! A trait of its own beside [`Store`](super::Store): nothing here is part of counting a
//! scan. On PostgreSQL it goes over other connections; on SQLite its short writes take
//! their turn at the one that writes.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;
use crate::domain::alarm::{Alarm, Cause, Changes, Kind, Notice, Sighting};
use crate::domain::outbox::{ChannelState, Message, Outcome};
use crate::domain::time::Timestamp;

/// Most matters of one sort that a survey brings, the oldest first: what is more is told
/// when those are settled.
pub const MOST: i64 = 1000;
/// Most refused duplicates that a survey counts, the newest first.
pub const MOST_DUPLICATES: i64 = 10_000;
/// Most messages that wait for one channel; the oldest go first.
pub const MOST_WAITING: i64 = 200;
/// Most rows that one call of [`AlarmStore::prune`] deletes of each sort.
pub const MOST_PRUNED: i64 = 500;

/// Where alarms and their messages are kept.
#[async_trait]
pub trait AlarmStore: Send + Sync + 'static {
    /// Renews what this process sees, forgets what it sees no more, and takes the turn
    /// where it is free, its own, or run out. Says whether it has the turn.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn report(&self, report: &Report) -> Result<bool, StoreError>;

    /// What is wrong as the tables show it, and the alarms that are known.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn survey(&self, question: &Question) -> Result<Survey, StoreError>;

    /// Writes, in one transaction, the changes and the messages that tell of them, if every
    /// alarm still stands as the changes suppose; else nothing, and `false`. A process that
    /// dies meanwhile has written all of it or nothing.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn record(&self, record: &Record) -> Result<bool, StoreError>;

    /// How each channel does that ever had a message.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn lines(&self) -> Result<Vec<ChannelLine>, StoreError>;

    /// Locks a channel's row, hands it with the first waiting message to `decide`, and
    /// writes what that returns, all in one transaction. A process that dies meanwhile has
    /// written nothing, or all of it.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn work(
        &self,
        channel: &str,
        decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<Worked> + Send),
    ) -> Result<(), StoreError>;

    /// The open alarms, the oldest first, at most [`MOST`].
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn open_alarms(&self) -> Result<Vec<Alarm>, StoreError>;

    /// Drops the messages that are too old or too many, and deletes what was settled long
    /// ago, a bounded number at a time. Says how many were dropped of each channel.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn prune(&self, bounds: &Bounds) -> Result<Vec<Dropped>, StoreError>;
}

/// What one process sees.
#[derive(Clone, Debug)]
pub struct Report {
    /// The process.
    pub holder: String,
    /// All that it alone can see.
    pub sightings: Vec<Sighting>,
    /// The time.
    pub now: Timestamp,
    /// Until when it would have the turn.
    pub turn_until: Timestamp,
}

/// What to survey.
#[derive(Clone, Debug)]
pub struct Question {
    /// Sightings renewed since then.
    pub seen_after: Timestamp,
    /// Besides the open findings, those found since then: what is repaired by itself within
    /// seconds is told of all the same.
    pub found_after: Timestamp,
    /// Duplicates refused since then, at stations with so many of them.
    pub duplicates: (Timestamp, i64),
    /// Besides the open alarms, those resolved since then.
    pub resolved_after: Timestamp,
}

/// What is wrong, and what is known of it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Survey {
    /// What processes see, [`MOST`] of it.
    pub sightings: Vec<Sighting>,
    /// The work orders with findings, those found first first, [`MOST`] of them.
    pub drifting: Vec<Drifting>,
    /// How the checks of each range went.
    pub checks: Vec<Checks>,
    /// The stations with many refused duplicates.
    pub bursts: Vec<Burst>,
    /// Alarms that are open or were resolved lately.
    pub alarms: Vec<Alarm>,
}

/// A work order with findings, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Drifting {
    /// The work order.
    pub work_order: String,
    /// How many findings.
    pub findings: i64,
    /// The first one's kind.
    pub kind: String,
    /// Its counter.
    pub counter: Option<String>,
    /// Its first bad row.
    pub seq: Option<i64>,
    /// What the log says.
    pub expected: Option<Value>,
    /// What was found.
    pub actual: Option<Value>,
    /// When it was found.
    pub found_at: Timestamp,
}

/// How the checks of one range went.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Checks {
    /// `recent` or `full`.
    pub range: String,
    /// When the last one ended that read everything.
    pub last_read: Option<Timestamp>,
    /// When one that still runs last got further.
    pub last_advance: Option<Timestamp>,
    /// When the last one ended, if it failed.
    pub failed_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A station with many refused duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Burst {
    /// The station; where it is not known, the terminal or the caller.
    pub station: String,
    /// How many.
    pub refused: i64,
    /// When the first of them was refused.
    pub since: Timestamp,
    /// The work order of one of them.
    pub work_order: String,
}

/// What a step wants written.
#[derive(Clone, Debug)]
pub struct Record {
    /// What changes.
    pub changes: Changes,
    /// What is told of it, each to one channel.
    pub messages: Vec<NewMessage>,
    /// The time.
    pub now: Timestamp,
}

/// A message on its way into the outbox.
#[derive(Clone, Debug, Serialize)]
pub struct NewMessage {
    /// Its id.
    pub message_id: String,
    /// Whom it is for.
    pub channel: String,
    /// What there is to say.
    pub notice: Notice,
}

/// How a channel does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ChannelLine {
    /// The channel.
    pub channel: String,
    /// How many messages wait.
    pub waiting: i64,
    /// The rest.
    #[serde(flatten)]
    pub line: ChannelState,
}

/// What is to become of a channel's row and its first message.
#[derive(Clone, Debug)]
pub struct Worked {
    /// The row.
    pub line: ChannelState,
    /// The message, where something became of it.
    pub first: Option<First>,
}

/// What became of a line's first message.
#[derive(Clone, Copy, Debug)]
pub enum First {
    /// An attempt failed.
    Failed,
    /// It is settled.
    Settled(Outcome, Timestamp),
}

/// What is too old or too many.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The time.
    pub now: Timestamp,
    /// Waiting messages put there before are dropped, and those beyond [`MOST_WAITING`].
    pub waiting_after: Timestamp,
    /// Messages settled before are deleted.
    pub settled_after: Timestamp,
    /// Alarms resolved before are deleted.
    pub resolved_after: Timestamp,
    /// Sightings last seen before are deleted.
    pub seen_after: Timestamp,
}

/// Messages of a channel that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dropped {
    /// The channel.
    pub channel: String,
    /// How many.
    pub dropped: i64,
}

impl From<Drifting> for Sighting {
    fn from(drifting: Drifting) -> Self {
        let Drifting { work_order, findings, kind, counter, seq, expected, actual, found_at } = drifting;
        let cause = Cause::Drift { work_order, findings, finding: kind, counter, seq, expected, actual };
        Self { cause, since: found_at }
    }
}

impl Burst {
    /// The burst as something that is the matter.
    #[must_use]
    pub fn seen_within(self, within: Duration) -> Sighting {
        let Self { station, refused, since, work_order } = self;
        let cause = Cause::DuplicateBurst { station, refused, within_seconds: within.as_secs(), work_order };
        Sighting { cause, since }
    }
}

/// A sighting as a row: the columns that the cause is known by stand beside it.
#[derive(Serialize)]
pub(super) struct SightingRow<'a> {
    kind: Kind,
    key: &'a str,
    cause: &'a Cause,
    since: Timestamp,
}

/// The rows of a report.
pub(super) fn sighting_rows<'a>(sightings: &'a [Sighting]) -> Vec<SightingRow<'a>> {
    let row = |Sighting { cause, since }: &'a Sighting| SightingRow {
        kind: cause.kind(),
        key: cause.key(),
        cause,
        since: *since,
    };
    sightings.iter().map(row).collect()
}

/// An alarm as a row, likewise.
#[derive(Serialize)]
pub(super) struct AlarmRow<'a> {
    kind: Kind,
    key: &'a str,
    #[serde(flatten)]
    alarm: &'a Alarm,
}

/// The rows of alarms.
pub(super) fn alarm_rows(alarms: &[Alarm]) -> Vec<AlarmRow<'_>> {
    alarms.iter().map(|alarm| AlarmRow { kind: alarm.cause.kind(), key: alarm.cause.key(), alarm }).collect()
}
