//! Alarms and their outbox on SQLite.

mod statements;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use self::statements as sql;
use super::session::arguments::{Arguments, fetch, list};
use super::session::{Failure, LEND_LIMIT, limited};
use super::{SqliteStore, read};
use crate::domain::alarm::Alarm;
use crate::domain::outbox::{ChannelState, Message};
use crate::domain::time::SKEW;
use crate::store::alarms::{
    AlarmStore, ChannelQueue, ChannelUpdate, CleanUpLimits, ConditionQuery, Conditions, Dropped, MOST, MOST_DELETED,
    MOST_DUPLICATES, MessageResult, Record, Report, alarm_rows, sighting_rows,
};
use crate::store::{StoreError, rows};

#[async_trait]
impl AlarmStore for SqliteStore {
    async fn report_sightings(&self, report: &Report) -> Result<bool, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let reported = write_report(lent.get(), report).await;
            self.finish(lent, reported).await
        })
        .await
    }

    async fn conditions(&self, query: &ConditionQuery) -> Result<Conditions, StoreError> {
        let (refused_after, burst) = query.duplicates;
        let found = read(&self.alarms, &sql::CONDITIONS, |bound| {
            bound.text(&query.seen_after.to_string());
            bound.text(&refused_after.to_string());
            bound.number(burst);
            bound.text(&query.resolved_after.to_string());
            bound.number(MOST);
            bound.number(MOST_DUPLICATES);
            bound.text(&query.found_after.to_string());
        });
        Ok(found.await?.pop().unwrap_or_default())
    }

    async fn record(&self, record: &Record) -> Result<bool, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            match write_record(lent.get(), record).await {
                Ok(false) => {
                    self.roll_back(lent).await;
                    Ok(false)
                }
                recorded => self.finish(lent, recorded).await,
            }
        })
        .await
    }

    async fn channel_queues(&self) -> Result<Vec<ChannelQueue>, StoreError> {
        read(&self.alarms, &sql::CHANNEL_QUEUES, |_| {}).await
    }

    async fn update_channel(
        &self,
        channel: &str,
        decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<ChannelUpdate> + Send),
    ) -> Result<(), StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let updated = write_channel(lent.get(), channel, decide).await;
            self.finish(lent, updated).await
        })
        .await
    }

    async fn open_alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        read(&self.alarms, &sql::OPEN_ALARMS, |bound| bound.number(MOST)).await
    }

    async fn clean_up(&self, limits: &CleanUpLimits) -> Result<Vec<Dropped>, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let dropped = write_clean_up(lent.get(), limits).await;
            self.finish(lent, dropped).await
        })
        .await
    }
}

async fn write_report(connection: &mut SqliteConnection, report: &Report) -> Result<bool, Failure> {
    let seen = list(&sighting_rows(&report.sightings));
    let (holder, until) = (report.lease.holder.as_str(), report.lease.until);
    let now = report.now.to_string();
    change(connection, &sql::FORGET_SIGHTINGS, &[holder, &seen]).await?;
    change(connection, &sql::SAVE_SIGHTINGS, &[holder, &seen, &now]).await?;
    let take = [holder, &until.to_string(), &now, &until.later(SKEW).to_string()];
    Ok(change(connection, &sql::TAKE_LEASE, &take).await? == 1)
}

async fn write_record(connection: &mut SqliteConnection, record: &Record) -> Result<bool, Failure> {
    let changes = &record.changes;
    let now = record.now.to_string();
    let fired = list(&alarm_rows(&changes.fired));
    let (cleared, returned) = (list(&changes.cleared), list(&changes.returned));
    let resolved = list(&alarm_rows(&changes.resolved));
    for (statement, values, alarms) in [
        (&sql::FIRE, &[fired.as_str()][..], changes.fired.len()),
        (&sql::CLEAR, &[&cleared, &now], changes.cleared.len()),
        (&sql::RETURN, &[&returned], changes.returned.len()),
        (&sql::RESOLVE, &[&resolved], changes.resolved.len()),
    ] {
        if alarms > 0 && change(connection, statement, values).await? != alarms as u64 {
            return Ok(false);
        }
    }
    let messages = list(&record.messages);
    change(connection, &sql::ADD_CHANNELS, &[&messages]).await?;
    change(connection, &sql::ADD_MESSAGES, &[&messages, &now]).await?;
    Ok(true)
}

async fn write_channel(
    connection: &mut SqliteConnection,
    channel: &str,
    decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<ChannelUpdate> + Send),
) -> Result<(), Failure> {
    let state: Option<ChannelState> = one(connection, &sql::LOCK_CHANNEL, channel).await?;
    let message: Option<Message> = one(connection, &sql::FIRST_MESSAGE, channel).await?;
    let position = message.as_ref().map(|message| message.position);
    let Some(ChannelUpdate { state, message }) = state.and_then(|state| decide(state, message)) else {
        return Ok(());
    };
    change(connection, &sql::UPDATE_CHANNEL, &[channel, &list(&state)]).await?;
    if let (Some(result), Some(position)) = (message, position) {
        let (failed, settled_at, outcome) = match result {
            MessageResult::Failed => (1, None, None),
            MessageResult::Settled(outcome, at) => (0, Some(at.to_string()), Some(outcome.word())),
        };
        let mut bound = Arguments::default();
        bound.number(position);
        bound.number(failed);
        bound.maybe(settled_at.as_deref());
        bound.maybe(outcome);
        bound.query(&sql::UPDATE_MESSAGE).execute(connection).await?;
    }
    Ok(())
}

async fn write_clean_up(connection: &mut SqliteConnection, limits: &CleanUpLimits) -> Result<Vec<Dropped>, Failure> {
    let mut bound = Arguments::default();
    bound.text(&limits.now.to_string());
    bound.text(&limits.waiting_after.to_string());
    bound.number(limits.most_waiting);
    let mut dropped: BTreeMap<String, i64> = BTreeMap::new();
    for row in bound.query(&sql::DROP_MESSAGES).fetch_all(&mut *connection).await? {
        *dropped.entry(row.try_get(0)?).or_default() += 1;
    }
    for (statement, before) in [
        (&sql::DELETE_MESSAGES, limits.settled_after),
        (&sql::DELETE_ALARMS, limits.resolved_after),
        (&sql::DELETE_SIGHTINGS, limits.seen_after),
    ] {
        let mut bound = Arguments::default();
        bound.text(&before.to_string());
        bound.number(MOST_DELETED);
        bound.query(statement).execute(&mut *connection).await?;
    }
    Ok(dropped.into_iter().map(|(channel, dropped)| Dropped { channel, dropped }).collect())
}

/// Runs a statement with text values, and returns how many rows it has changed.
async fn change(
    connection: &mut SqliteConnection,
    statement: &'static str,
    texts: &[&str],
) -> Result<u64, sqlx::Error> {
    let mut bound = Arguments::default();
    for text in texts {
        bound.text(text);
    }
    Ok(bound.query(statement).execute(connection).await?.rows_affected())
}

async fn one<T: DeserializeOwned>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    channel: &str,
) -> Result<Option<T>, Failure> {
    let mut bound = Arguments::default();
    bound.text(channel);
    let found = fetch(connection, statement, bound).await?;
    Ok(found.first().map(|row| rows::read(row)).transpose()?)
}
