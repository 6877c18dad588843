//! The store of alarms: what is wrong, the alarms that are known, and the outbox of messages.
//!
//! It is a trait of its own, because it is no part of counting a scan. On PostgreSQL it uses other
//! connections than [`Store`](super::Store). On SQLite its short writes share the one connection that
//! writes.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;
use crate::domain::alarm::{Alarm, Cause, Changes, Kind, Notice, Sighting};
use crate::domain::outbox::{ChannelState, Message, Outcome};
use crate::domain::time::Timestamp;

/// Most items of one kind that one statement reads, the oldest first. The rest is read after these
/// are settled.
pub const MOST: i64 = 1000;
/// Most refused duplicates that [`AlarmStore::conditions`] counts, the newest first.
pub const MOST_DUPLICATES: i64 = 10_000;
/// Most rows of each kind that one call of [`AlarmStore::clean_up`] deletes.
pub const MOST_DELETED: i64 = 500;

/// Alarms and their messages.
#[async_trait]
pub trait AlarmStore: Send + Sync + 'static {
    /// Saves what this process sees and deletes what it no longer sees. Takes or renews the lease
    /// for watching if it is free, expired, or its own; `false` if another process has it.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn report_sightings(&self, report: &Report) -> Result<bool, StoreError>;

    /// What is wrong by the tables, and the alarms that are known, in one snapshot.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn conditions(&self, query: &ConditionQuery) -> Result<Conditions, StoreError>;

    /// Writes, in one transaction, the changes of alarms and the messages about them. If an alarm is
    /// no longer as the changes assume, nothing is written and this returns `false`.
    /// If the process dies, all of this is written or nothing.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn record(&self, record: &Record) -> Result<bool, StoreError>;

    /// The queue of each channel that ever had a message.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn channel_queues(&self) -> Result<Vec<ChannelQueue>, StoreError>;

    /// Locks a channel, calls `decide` with its state and its first waiting message, and writes what
    /// `decide` returns, all in one transaction.
    /// If the process dies, all of this is written or nothing.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn update_channel(
        &self,
        channel: &str,
        decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<ChannelUpdate> + Send),
    ) -> Result<(), StoreError>;

    /// The open alarms, the oldest first, at most [`MOST`].
    ///
    /// # Errors
    /// If the store can't be read.
    async fn open_alarms(&self) -> Result<Vec<Alarm>, StoreError>;

    /// Drops waiting messages that are too old or too many, and deletes old rows, at most
    /// [`MOST_DELETED`] of each kind. Returns how many messages of each channel were dropped.
    ///
    /// # Errors
    /// As [`Store::write`](super::Store::write).
    async fn clean_up(&self, limits: &CleanUpLimits) -> Result<Vec<Dropped>, StoreError>;
}

/// What one process sees.
#[derive(Clone, Debug)]
pub struct Report {
    /// The lease that it asks for.
    pub lease: WatchLease,
    /// Everything that only this process can see.
    pub sightings: Vec<Sighting>,
    /// The time.
    pub now: Timestamp,
}

/// The right to compare what is wrong with the known alarms: one process has it at a time.
#[derive(Clone, Debug)]
pub struct WatchLease {
    /// The process.
    pub holder: String,
    /// Until when it would have the lease.
    pub until: Timestamp,
}

/// Which conditions to read.
#[derive(Clone, Debug)]
pub struct ConditionQuery {
    /// Sightings that were seen after this.
    pub seen_after: Timestamp,
    /// Open findings, and all that were found after this. So a finding that is repaired within
    /// seconds raises an alarm too.
    pub found_after: Timestamp,
    /// Duplicates refused after this time, at stations with at least so many.
    pub duplicates: (Timestamp, i64),
    /// Open alarms, and those that were resolved after this.
    pub resolved_after: Timestamp,
}

/// What is wrong, and the alarms that are known.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Conditions {
    /// What processes see, at most [`MOST`].
    pub sightings: Vec<Sighting>,
    /// The work orders with findings, those found first first, at most [`MOST`].
    pub drifting: Vec<Drifting>,
    /// How the checks of each range went.
    pub checks: Vec<Checks>,
    /// The stations with many refused duplicates.
    pub bursts: Vec<Burst>,
    /// The open alarms, and those that were resolved lately.
    pub alarms: Vec<Alarm>,
}

/// A work order with findings, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Drifting {
    /// The work order.
    pub work_order: String,
    /// How many findings.
    pub findings: i64,
    /// The kind of the first one.
    pub kind: String,
    /// Its counter.
    pub counter: Option<String>,
    /// Its first wrong row.
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
    /// When the last check ended that has read everything.
    pub last_read: Option<Timestamp>,
    /// When the running check last noted progress.
    pub last_advance: Option<Timestamp>,
    /// When the last check ended, if it failed.
    pub failed_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A station with many refused duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Burst {
    /// The station; if it is unknown, the terminal or the caller.
    pub station: String,
    /// How many.
    pub refused: i64,
    /// When the first of them was refused.
    pub since: Timestamp,
    /// The work order of one of them.
    pub work_order: String,
}

/// What one step of the watch writes.
#[derive(Clone, Debug)]
pub struct Record {
    /// The changes of alarms.
    pub changes: Changes,
    /// The messages about them, one per channel and notice.
    pub messages: Vec<NewMessage>,
    /// The time.
    pub now: Timestamp,
}

/// A new message for the outbox.
#[derive(Clone, Debug, Serialize)]
pub struct NewMessage {
    /// Its id.
    pub message_id: String,
    /// The channel that gets it.
    pub channel: String,
    /// What it says.
    pub notice: Notice,
}

/// The queue of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ChannelQueue {
    /// The channel.
    pub channel: String,
    /// How many messages wait.
    pub waiting: i64,
    /// The rest of its row.
    #[serde(flatten)]
    pub state: ChannelState,
}

/// What to write to a channel and its first message.
#[derive(Clone, Debug)]
pub struct ChannelUpdate {
    /// The channel after the update.
    pub state: ChannelState,
    /// What happened to the message; `None`: nothing.
    pub message: Option<MessageResult>,
}

/// What happened to the first message of a channel.
#[derive(Clone, Copy, Debug)]
pub enum MessageResult {
    /// An attempt failed.
    Failed,
    /// It is settled.
    Settled(Outcome, Timestamp),
}

/// What is too old or too many.
#[derive(Clone, Debug)]
pub struct CleanUpLimits {
    /// The time.
    pub now: Timestamp,
    /// Waiting messages that were added before this are dropped.
    pub waiting_after: Timestamp,
    /// Of each channel, waiting messages beyond the newest of this number are dropped.
    pub most_waiting: i64,
    /// Messages that were settled before this are deleted.
    pub settled_after: Timestamp,
    /// Alarms that were resolved before this are deleted.
    pub resolved_after: Timestamp,
    /// Sightings that were last seen before this are deleted.
    pub seen_after: Timestamp,
}

/// Dropped messages of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dropped {
    /// The channel.
    pub channel: String,
    /// How many.
    pub dropped: i64,
}

/// A sighting as a row, with the columns of its key.
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

/// An alarm as a row, with the columns of its key.
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
