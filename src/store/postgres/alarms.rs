//! Alarms and their outbox on PostgreSQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::super::StoreError;
use super::super::alarms::{
    AlarmStore, Bounds, ChannelLine, Dropped, First, MOST, MOST_DUPLICATES, MOST_PRUNED, MOST_WAITING, Question,
    Record, Report, Survey, Worked, alarm_rows, sighting_rows,
};
use super::super::rows;
use super::PostgresStore;
use super::session::{LEND_LIMIT, bounded, execute, judge, run, transaction_over};
use crate::domain::alarm::Alarm;
use crate::domain::outbox::{ChannelState, Message};
use crate::domain::time::SKEW;

#[async_trait]
impl AlarmStore for PostgresStore {
    async fn report(&self, report: &Report) -> Result<bool, StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let reported = bounded(write_report(lent.get(), report)).await;
        transaction_over(lent, reported).await
    }

    async fn survey(&self, question: &Question) -> Result<Survey, StoreError> {
        let (refused_after, burst) = question.duplicates;
        let survey = sqlx::query_as(include_str!("survey.sql"))
            .bind(question.seen_after.to_utc())
            .bind(refused_after.to_utc())
            .bind(burst)
            .bind(question.resolved_after.to_utc())
            .bind(MOST)
            .bind(MOST_DUPLICATES)
            .bind(question.found_after.to_utc());
        Ok(self.read(survey).await?.pop().unwrap_or_default())
    }

    async fn record(&self, record: &Record) -> Result<bool, StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let recorded = bounded(write_record(lent.get(), record)).await;
        transaction_over(lent, recorded).await
    }

    async fn lines(&self) -> Result<Vec<ChannelLine>, StoreError> {
        let lines = sqlx::query_as(
            "select row_to_json(l)::text
             from (select c.*, (select count(*) from alarm_messages m
                                where m.channel = c.channel and m.settled_at is null) as waiting
                   from alarm_channels c order by c.channel) l",
        );
        self.read(lines).await
    }

    async fn work(
        &self,
        channel: &str,
        decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<Worked> + Send),
    ) -> Result<(), StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let worked = bounded(work_on(lent.get(), channel, decide)).await;
        transaction_over(lent, worked).await
    }

    async fn open_alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        let open = sqlx::query_as(
            "select row_to_json(a)::text from alarms a where a.resolved_at is null
             order by a.fired_at, a.alarm_id limit $1",
        );
        self.read(open.bind(MOST)).await
    }

    async fn prune(&self, bounds: &Bounds) -> Result<Vec<Dropped>, StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let pruned = bounded(write_prune(lent.get(), bounds)).await;
        transaction_over(lent, pruned).await
    }
}

async fn write_report(connection: &mut PgConnection, report: &Report) -> Result<bool, StoreError> {
    let seen = list(&sighting_rows(&report.sightings));
    execute(connection, "begin").await?;
    let forget = sqlx::query(
        "delete from alarm_sightings s where s.holder = $1 and not exists (
             select 1 from json_array_elements($2::json) v where v ->> 'kind' = s.kind and v ->> 'key' = s.key)",
    );
    run(connection, forget.bind(report.holder.clone()).bind(seen.clone())).await?;
    let renew = sqlx::query(
        "insert into alarm_sightings (kind, key, holder, cause, since, seen_at)
         select v ->> 'kind', v ->> 'key', $1, (v -> 'cause')::jsonb, (v ->> 'since')::timestamptz, $3
         from json_array_elements($2::json) v
         on conflict (kind, key, holder) do update
             set cause = excluded.cause, since = excluded.since, seen_at = excluded.seen_at",
    );
    run(connection, renew.bind(report.holder.clone()).bind(seen).bind(report.now.to_utc())).await?;
    let take = sqlx::query(
        "update alarm_turn set holder = $1, expires_at = $2
         where turn = 1 and (holder is null or holder = $1 or expires_at <= $3 or expires_at > $4)",
    );
    let take = take.bind(report.holder.clone()).bind(report.turn_until.to_utc()).bind(report.now.to_utc());
    let take = take.bind(report.turn_until.later(SKEW).to_utc());
    let taken = run(connection, take).await?.rows_affected() == 1;
    execute(connection, "commit").await?;
    Ok(taken)
}

async fn write_record(connection: &mut PgConnection, record: &Record) -> Result<bool, StoreError> {
    let changes = &record.changes;
    execute(connection, "begin").await?;
    let fire = sqlx::query(
        "insert into alarms (alarm_id, kind, key, cause, since, fired_at, recurrences)
         select v ->> 'alarm_id', v ->> 'kind', v ->> 'key', (v -> 'cause')::jsonb, (v ->> 'since')::timestamptz,
                (v ->> 'fired_at')::timestamptz, (v ->> 'recurrences')::bigint
         from json_array_elements($1::json) v
         on conflict do nothing",
    );
    let clear = sqlx::query(
        "update alarms set clear_since = $2
         where alarm_id = any ($1) and resolved_at is null and clear_since is null",
    );
    let back = sqlx::query(
        "update alarms set clear_since = null
         where alarm_id = any ($1) and resolved_at is null and clear_since is not null",
    );
    let resolve = sqlx::query(
        "update alarms a set clear_since = (v ->> 'clear_since')::timestamptz,
                             resolved_at = (v ->> 'resolved_at')::timestamptz
         from json_array_elements($1::json) v where a.alarm_id = v ->> 'alarm_id' and a.resolved_at is null",
    );
    let now = record.now.to_utc();
    for (statement, alarms) in [
        (fire.bind(list(&alarm_rows(&changes.fired))), changes.fired.len()),
        (clear.bind(changes.cleared.clone()).bind(now), changes.cleared.len()),
        (back.bind(changes.returned.clone()), changes.returned.len()),
        (resolve.bind(list(&alarm_rows(&changes.resolved))), changes.resolved.len()),
    ] {
        if !all(connection, statement, alarms).await? {
            execute(connection, "rollback").await?;
            return Ok(false);
        }
    }
    let messages = list(&record.messages);
    let channels = sqlx::query(
        "insert into alarm_channels (channel)
         select distinct v ->> 'channel' from json_array_elements($1::json) v order by 1
         on conflict do nothing",
    );
    run(connection, channels.bind(messages.clone())).await?;
    let put = sqlx::query(
        "insert into alarm_messages (message_id, channel, notice, created_at)
         select v ->> 'message_id', v ->> 'channel', (v -> 'notice')::jsonb, $2
         from json_array_elements($1::json) with ordinality as l (v, place) order by place",
    );
    run(connection, put.bind(messages).bind(now)).await?;
    execute(connection, "commit").await?;
    Ok(true)
}

/// Whether a statement met as many rows as it was to change.
async fn all(
    connection: &mut PgConnection,
    statement: Query<'_, Postgres, PgArguments>,
    rows: usize,
) -> Result<bool, StoreError> {
    Ok(rows == 0 || run(connection, statement).await?.rows_affected() == rows as u64)
}

async fn work_on(
    connection: &mut PgConnection,
    channel: &str,
    decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<Worked> + Send),
) -> Result<(), StoreError> {
    execute(connection, "begin").await?;
    let line = "select row_to_json(c)::text from alarm_channels c where c.channel = $1 for update";
    let line: Option<ChannelState> = one(connection, line, channel).await?;
    let first = "select row_to_json(m)::text from alarm_messages m where m.channel = $1 and m.settled_at is null
                 order by m.position limit 1";
    let message: Option<Message> = one(connection, first, channel).await?;
    let position = message.as_ref().map(|message| message.position);
    let worked = line.and_then(|line| decide(line, message));
    if let Some(Worked { line, first }) = worked {
        let write = sqlx::query(
            "update alarm_channels c
             set claimed_by = v.claimed_by, claimed_until = v.claimed_until, paced_until = v.paced_until,
                 failures = v.failures, failing_since = v.failing_since, next_attempt_at = v.next_attempt_at,
                 last_error = v.last_error, last_delivered_at = v.last_delivered_at
             from json_populate_record(null::alarm_channels, $2::json) v where c.channel = $1",
        );
        run(connection, write.bind(channel.to_owned()).bind(list(&line))).await?;
        if let (Some(first), Some(position)) = (first, position) {
            let (failed, settled_at, outcome) = match first {
                First::Failed => (1_i64, None, None),
                First::Settled(outcome, at) => (0, Some(at.to_utc()), Some(outcome.word())),
            };
            let write = sqlx::query(
                "update alarm_messages set attempts = attempts + $2, settled_at = $3, outcome = $4
                 where position = $1",
            );
            run(connection, write.bind(position).bind(failed).bind(settled_at).bind(outcome)).await?;
        }
    }
    execute(connection, "commit").await
}

async fn write_prune(connection: &mut PgConnection, bounds: &Bounds) -> Result<Vec<Dropped>, StoreError> {
    execute(connection, "begin").await?;
    let drop = sqlx::query_as(
        "update alarm_messages m set settled_at = $1, outcome = 'dropped'
         where m.settled_at is null
           and (m.created_at < $2 or m.position <= (
               select n.position from alarm_messages n where n.channel = m.channel and n.settled_at is null
               order by n.position desc offset $3 limit 1))
         returning m.channel",
    );
    let drop = drop.bind(bounds.now.to_utc()).bind(bounds.waiting_after.to_utc()).bind(MOST_WAITING);
    let channels: Vec<(String,)> = drop.fetch_all(&mut *connection).await.map_err(judge)?;
    let mut dropped: BTreeMap<String, i64> = BTreeMap::new();
    for (channel,) in channels {
        *dropped.entry(channel).or_default() += 1;
    }
    for (statement, before) in [
        (
            "delete from alarm_messages where position in (
                 select position from alarm_messages where settled_at < $1 order by settled_at limit $2)",
            bounds.settled_after,
        ),
        (
            "delete from alarms where alarm_id in (
                 select alarm_id from alarms where resolved_at < $1 order by resolved_at limit $2)",
            bounds.resolved_after,
        ),
        (
            "delete from alarm_sightings where (kind, key, holder) in (
                 select kind, key, holder from alarm_sightings where seen_at < $1 limit $2)",
            bounds.seen_after,
        ),
    ] {
        run(connection, sqlx::query(statement).bind(before.to_utc()).bind(MOST_PRUNED)).await?;
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
        sqlx::query_as(statement).bind(channel.to_owned()).fetch_optional(connection).await.map_err(judge)?;
    row.map(|(row,)| rows::read(&row)).transpose()
}

/// A value as JSON text.
fn list(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("rows are plain structs of text, numbers and booleans")
}
