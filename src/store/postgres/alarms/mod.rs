//! Alarms and their outbox on PostgreSQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::session::{LEND_LIMIT, bounded, execute, judge, run, transaction_over};
use super::{PostgresStore, read};
use crate::domain::alarm::Alarm;
use crate::domain::outbox::{ChannelState, Message};
use crate::domain::time::SKEW;
use crate::store::alarms::{
    AlarmStore, ChannelQueue, ChannelUpdate, CleanUpLimits, ConditionQuery, Conditions, Dropped, MOST, MOST_DELETED,
    MOST_DUPLICATES, MessageResult, Record, Report, alarm_rows, sighting_rows,
};
use crate::store::{StoreError, rows};

#[async_trait]
impl AlarmStore for PostgresStore {
    async fn report_sightings(&self, report: &Report) -> Result<bool, StoreError> {
        let mut lent = self.alarms.lend(LEND_LIMIT).await?;
        let reported = bounded(lent.suspicion(), write_report(lent.get(), report)).await;
        transaction_over(lent, reported).await
    }

    async fn conditions(&self, query: &ConditionQuery) -> Result<Conditions, StoreError> {
        let (refused_after, burst) = query.duplicates;
        let conditions = sqlx::query_as(include_str!("conditions.sql"))
            .bind(query.seen_after.to_utc())
            .bind(refused_after.to_utc())
            .bind(burst)
            .bind(query.resolved_after.to_utc())
            .bind(MOST)
            .bind(MOST_DUPLICATES)
            .bind(query.found_after.to_utc());
        Ok(read(&self.alarms, conditions).await?.pop().unwrap_or_default())
    }

    async fn record(&self, record: &Record) -> Result<bool, StoreError> {
        let mut lent = self.alarms.lend(LEND_LIMIT).await?;
        let recorded = bounded(lent.suspicion(), write_record(lent.get(), record)).await;
        transaction_over(lent, recorded).await
    }

    async fn channel_queues(&self) -> Result<Vec<ChannelQueue>, StoreError> {
        read(&self.alarms, sqlx::query_as(include_str!("channel_queues.sql"))).await
    }

    async fn update_channel(
        &self,
        channel: &str,
        decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<ChannelUpdate> + Send),
    ) -> Result<(), StoreError> {
        let mut lent = self.alarms.lend(LEND_LIMIT).await?;
        let updated = bounded(lent.suspicion(), write_channel(lent.get(), channel, decide)).await;
        transaction_over(lent, updated).await
    }

    async fn open_alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        read(&self.alarms, sqlx::query_as(include_str!("open_alarms.sql")).bind(MOST)).await
    }

    async fn clean_up(&self, limits: &CleanUpLimits) -> Result<Vec<Dropped>, StoreError> {
        let mut lent = self.alarms.lend(LEND_LIMIT).await?;
        let dropped = bounded(lent.suspicion(), write_clean_up(lent.get(), limits)).await;
        transaction_over(lent, dropped).await
    }
}

async fn write_report(connection: &mut PgConnection, report: &Report) -> Result<bool, StoreError> {
    let seen = json(&sighting_rows(&report.sightings));
    let (holder, until) = (report.lease.holder.as_str(), report.lease.until);
    execute(connection, "begin").await?;
    let forget = sqlx::query(include_str!("forget_sightings.sql")).bind(holder).bind(&seen);
    run(connection, forget).await?;
    let save = sqlx::query(include_str!("save_sightings.sql")).bind(holder).bind(&seen).bind(report.now.to_utc());
    run(connection, save).await?;
    let take = sqlx::query(include_str!("take_lease.sql"))
        .bind(holder)
        .bind(until.to_utc())
        .bind(report.now.to_utc())
        .bind(until.later(SKEW).to_utc());
    let taken = run(connection, take).await?.rows_affected() == 1;
    execute(connection, "commit").await?;
    Ok(taken)
}

async fn write_record(connection: &mut PgConnection, record: &Record) -> Result<bool, StoreError> {
    let changes = &record.changes;
    let now = record.now.to_utc();
    execute(connection, "begin").await?;
    let fire = sqlx::query(include_str!("fire.sql")).bind(json(&alarm_rows(&changes.fired)));
    let clear = sqlx::query(include_str!("clear.sql")).bind(&changes.cleared).bind(now);
    let back = sqlx::query(include_str!("return.sql")).bind(&changes.returned);
    let resolve = sqlx::query(include_str!("resolve.sql")).bind(json(&alarm_rows(&changes.resolved)));
    for (statement, alarms) in [
        (fire, changes.fired.len()),
        (clear, changes.cleared.len()),
        (back, changes.returned.len()),
        (resolve, changes.resolved.len()),
    ] {
        if !changes_all(connection, statement, alarms).await? {
            execute(connection, "rollback").await?;
            return Ok(false);
        }
    }
    let messages = json(&record.messages);
    run(connection, sqlx::query(include_str!("add_channels.sql")).bind(&messages)).await?;
    run(connection, sqlx::query(include_str!("add_messages.sql")).bind(&messages).bind(now)).await?;
    execute(connection, "commit").await?;
    Ok(true)
}

/// Whether a statement has changed as many rows as it should.
async fn changes_all(
    connection: &mut PgConnection,
    statement: Query<'_, Postgres, PgArguments>,
    rows: usize,
) -> Result<bool, StoreError> {
    Ok(rows == 0 || run(connection, statement).await?.rows_affected() == rows as u64)
}

async fn write_channel(
    connection: &mut PgConnection,
    channel: &str,
    decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<ChannelUpdate> + Send),
) -> Result<(), StoreError> {
    execute(connection, "begin").await?;
    let state: Option<ChannelState> = one(connection, include_str!("lock_channel.sql"), channel).await?;
    let message: Option<Message> = one(connection, include_str!("first_message.sql"), channel).await?;
    let position = message.as_ref().map(|message| message.position);
    let update = state.and_then(|state| decide(state, message));
    if let Some(ChannelUpdate { state, message }) = update {
        let write = sqlx::query(include_str!("update_channel.sql")).bind(channel).bind(json(&state));
        run(connection, write).await?;
        if let (Some(result), Some(position)) = (message, position) {
            let (failed, settled_at, outcome) = match result {
                MessageResult::Failed => (1_i64, None, None),
                MessageResult::Settled(outcome, at) => (0, Some(at.to_utc()), Some(outcome.word())),
            };
            let write = sqlx::query(include_str!("update_message.sql"))
                .bind(position)
                .bind(failed)
                .bind(settled_at)
                .bind(outcome);
            run(connection, write).await?;
        }
    }
    execute(connection, "commit").await
}

async fn write_clean_up(connection: &mut PgConnection, limits: &CleanUpLimits) -> Result<Vec<Dropped>, StoreError> {
    execute(connection, "begin").await?;
    let drop = sqlx::query_as(include_str!("drop_messages.sql"))
        .bind(limits.now.to_utc())
        .bind(limits.waiting_after.to_utc())
        .bind(limits.most_waiting);
    let channels: Vec<(String,)> = drop.fetch_all(&mut *connection).await.map_err(judge)?;
    let mut dropped: BTreeMap<String, i64> = BTreeMap::new();
    for (channel,) in channels {
        *dropped.entry(channel).or_default() += 1;
    }
    for (statement, before) in [
        (include_str!("delete_messages.sql"), limits.settled_after),
        (include_str!("delete_alarms.sql"), limits.resolved_after),
        (include_str!("delete_sightings.sql"), limits.seen_after),
    ] {
        run(connection, sqlx::query(statement).bind(before.to_utc()).bind(MOST_DELETED)).await?;
    }
    execute(connection, "commit").await?;
    Ok(dropped.into_iter().map(|(channel, dropped)| Dropped { channel, dropped }).collect())
}

async fn one<T: serde::de::DeserializeOwned>(
    connection: &mut PgConnection,
    statement: &'static str,
    channel: &str,
) -> Result<Option<T>, StoreError> {
    let row: Option<(String,)> =
        sqlx::query_as(statement).bind(channel).fetch_optional(connection).await.map_err(judge)?;
    row.map(|(row,)| rows::read(&row)).transpose()
}

/// A value as JSON text.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("rows are plain structs of text, numbers and booleans")
}
