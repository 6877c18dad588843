//! Alarms and their outbox on SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::super::alarms::{
    AlarmStore, Bounds, ChannelLine, Dropped, First, MOST, MOST_DUPLICATES, MOST_PRUNED, MOST_WAITING, Question,
    Record, Report, Survey, Worked, alarm_rows, sighting_rows,
};
use super::super::rows;
use super::SqliteStore;
use super::session::arguments::{Arguments, fetch, list};
use super::session::{Failure, LEND_LIMIT, limited};
use crate::domain::alarm::Alarm;
use crate::domain::outbox::{ChannelState, Message};
use crate::domain::time::SKEW;

#[async_trait]
impl AlarmStore for SqliteStore {
    async fn report(&self, report: &Report) -> Result<bool, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let reported = write_report(lent.get(), report).await;
            self.finish(lent, reported).await
        })
        .await
    }

    async fn survey(&self, question: &Question) -> Result<Survey, StoreError> {
        let (refused_after, burst) = question.duplicates;
        let mut found = self
            .read(SURVEY, |bound| {
                bound.text(&question.seen_after.to_string());
                bound.text(&refused_after.to_string());
                bound.number(burst);
                bound.text(&question.resolved_after.to_string());
                bound.number(MOST);
                bound.number(MOST_DUPLICATES);
                bound.text(&question.found_after.to_string());
            })
            .await?;
        Ok(found.pop().unwrap_or_default())
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

    async fn lines(&self) -> Result<Vec<ChannelLine>, StoreError> {
        self.read(LINES, |_| {}).await
    }

    async fn work(
        &self,
        channel: &str,
        decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<Worked> + Send),
    ) -> Result<(), StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let worked = work_on(lent.get(), channel, decide).await;
            self.finish(lent, worked).await
        })
        .await
    }

    async fn open_alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        self.read(OPEN_ALARMS, |bound| bound.number(MOST)).await
    }

    async fn prune(&self, bounds: &Bounds) -> Result<Vec<Dropped>, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let pruned = write_prune(lent.get(), bounds).await;
            self.finish(lent, pruned).await
        })
        .await
    }
}

async fn write_report(connection: &mut SqliteConnection, report: &Report) -> Result<bool, Failure> {
    let seen = list(&sighting_rows(&report.sightings));
    let now = report.now.to_string();
    change(connection, FORGET, &[&report.holder, &seen]).await?;
    change(connection, RENEW, &[&report.holder, &seen, &now]).await?;
    let (until, doubtful) = (report.turn_until.to_string(), report.turn_until.later(SKEW).to_string());
    Ok(change(connection, TAKE_TURN, &[&report.holder, &until, &now, &doubtful]).await? == 1)
}

async fn write_record(connection: &mut SqliteConnection, record: &Record) -> Result<bool, Failure> {
    let changes = &record.changes;
    let now = record.now.to_string();
    for (statement, rows, alarms) in [
        (FIRE, list(&alarm_rows(&changes.fired)), changes.fired.len()),
        (CLEAR, list(&changes.cleared), changes.cleared.len()),
        (RETURN, list(&changes.returned), changes.returned.len()),
        (RESOLVE, list(&alarm_rows(&changes.resolved)), changes.resolved.len()),
    ] {
        if alarms > 0 && change(connection, statement, &[&rows, &now]).await? != alarms as u64 {
            return Ok(false);
        }
    }
    let messages = list(&record.messages);
    change(connection, ADD_CHANNELS, &[&messages]).await?;
    change(connection, ADD_MESSAGES, &[&messages, &now]).await?;
    Ok(true)
}

async fn work_on(
    connection: &mut SqliteConnection,
    channel: &str,
    decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<Worked> + Send),
) -> Result<(), Failure> {
    let line: Option<ChannelState> = one(connection, LINE, channel).await?;
    let message: Option<Message> = one(connection, FIRST_MESSAGE, channel).await?;
    let position = message.as_ref().map(|message| message.position);
    let Some(Worked { line, first }) = line.and_then(|line| decide(line, message)) else {
        return Ok(());
    };
    change(connection, WRITE_LINE, &[channel, &list(&line)]).await?;
    if let (Some(first), Some(position)) = (first, position) {
        let (failed, settled_at, outcome) = match first {
            First::Failed => (1, None, None),
            First::Settled(outcome, at) => (0, Some(at.to_string()), Some(outcome.word())),
        };
        let mut bound = Arguments::default();
        bound.number(position);
        bound.number(failed);
        bound.maybe(settled_at.as_deref());
        bound.maybe(outcome);
        bound.query(WRITE_MESSAGE).execute(connection).await?;
    }
    Ok(())
}

async fn write_prune(connection: &mut SqliteConnection, bounds: &Bounds) -> Result<Vec<Dropped>, Failure> {
    let mut bound = Arguments::default();
    bound.text(&bounds.now.to_string());
    bound.text(&bounds.waiting_after.to_string());
    bound.number(MOST_WAITING);
    let mut dropped: BTreeMap<String, i64> = BTreeMap::new();
    for row in bound.query(DROP).fetch_all(&mut *connection).await? {
        *dropped.entry(row.try_get(0)?).or_default() += 1;
    }
    for (statement, before) in [
        (DELETE_MESSAGES, bounds.settled_after),
        (DELETE_ALARMS, bounds.resolved_after),
        (DELETE_SIGHTINGS, bounds.seen_after),
    ] {
        let mut bound = Arguments::default();
        bound.text(&before.to_string());
        bound.number(MOST_PRUNED);
        bound.query(statement).execute(&mut *connection).await?;
    }
    Ok(dropped.into_iter().map(|(channel, dropped)| Dropped { channel, dropped }).collect())
}

/// Runs a statement on texts, and says how many rows it changed.
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

async fn one<T: serde::de::DeserializeOwned>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    channel: &str,
) -> Result<Option<T>, Failure> {
    let mut bound = Arguments::default();
    bound.text(channel);
    let found = fetch(connection, statement, bound).await?;
    Ok(found.first().map(|row| rows::read(row)).transpose()?)
}

/// An alarm `a` as JSON.
macro_rules! alarm_json {
    () => {
        "json_object('alarm_id', a.alarm_id, 'cause', json(a.cause), 'since', a.since, 'fired_at', a.fired_at,
            'clear_since', a.clear_since, 'resolved_at', a.resolved_at, 'recurrences', a.recurrences)"
    };
}

/// All that bears on alarms, as one JSON object and in one snapshot. ?1 sightings seen
/// after, ?2 duplicates refused after, ?3 so many of them make a burst, ?4 alarms resolved
/// after, ?5 most of one sort, ?6 most duplicates that are counted,
/// ?7 findings found after, whether or not they are open still.
const SURVEY: &str = concat!(
    "select json_object(
        'sightings', json((
            select json_group_array(json_object('cause', json(s.cause), 'since', s.since))
            from (select * from alarm_sightings where seen_at > ?1 order by since, kind, key, holder limit ?5) as s)),
        'drifting', json((
            select json_group_array(json_object('work_order', d.work_order, 'findings', d.findings, 'kind', d.kind,
                'counter', d.counter, 'seq', d.seq, 'expected', json(d.expected), 'actual', json(d.actual),
                'found_at', d.found_at))
            from (select * from (
                    select o.*, count(*) over (partition by o.work_order) as findings,
                        row_number() over (partition by o.work_order order by o.found_at, o.finding_id) as place
                    from consistency_findings as o where o.state = 'open' or o.found_at > ?7)
                where place = 1 order by found_at, work_order limit ?5) as d)),
        'checks', json((
            select json_group_array(json_object('range', r.range,
                'last_read', (select max(g.finished_at) from consistency_checks as g
                    where g.state in ('good', 'drift') and g.range in (r.range, 'full')),
                'last_advance', (select max(g.advanced_at) from consistency_checks as g where g.state = 'running'),
                'failed_at', (select iif(g.state = 'failed', g.finished_at, null) from consistency_checks as g
                    where g.range = r.range and g.finished_at is not null order by g.finished_at desc limit 1),
                'error', (select iif(g.state = 'failed', g.error, null) from consistency_checks as g
                    where g.range = r.range and g.finished_at is not null order by g.finished_at desc limit 1)))
            from (select 'recent' as range union all select 'full') as r)),
        'bursts', json((
            select json_group_array(json_object('station', b.station, 'refused', b.refused, 'since', b.since,
                'work_order', b.work_order))
            from (select d.station, count(*) as refused, min(d.recorded_at) as since, max(d.work_order) as work_order
                from (select coalesce(nullif(u.station, ''), nullif(u.terminal, ''), u.recorded_by) as station,
                        u.recorded_at, u.work_order
                    from update_log as u
                    where u.code = 'barcode-already-counted' and u.recorded_at > ?2
                    order by u.recorded_at desc limit ?6) as d
                group by d.station having count(*) >= ?3 order by d.station limit ?5) as b)),
        'alarms', json((
            select json_group_array(",
    alarm_json!(),
    ")
            from (select * from alarms where resolved_at is null
                union all
                select * from (select * from alarms where resolved_at > ?4
                    order by resolved_at desc limit ?5)) as a)))"
);

const OPEN_ALARMS: &str = concat!(
    "select ",
    alarm_json!(),
    " from alarms as a where a.resolved_at is null order by a.fired_at, a.alarm_id limit ?1"
);

/// Forgets the sightings of ?1 that are not in ?2.
const FORGET: &str = "
    delete from alarm_sightings where holder = ?1 and (kind, key) not in (
        select value ->> 'kind', value ->> 'key' from json_each(?2))";

/// Renews the sightings ?2 of ?1 at ?3. (`where true` tells the upsert from a join.)
const RENEW: &str = "
    insert into alarm_sightings (kind, key, holder, cause, since, seen_at)
    select value ->> 'kind', value ->> 'key', ?1, value -> 'cause', value ->> 'since', ?3
    from json_each(?2) where true
    on conflict (kind, key, holder) do update
        set cause = excluded.cause, since = excluded.since, seen_at = excluded.seen_at";

const TAKE_TURN: &str = "
    update alarm_turn set holder = ?1, expires_at = ?2
    where turn = 1 and (holder is null or holder = ?1 or expires_at <= ?3 or expires_at > ?4)";

const FIRE: &str = "
    insert into alarms (alarm_id, kind, key, cause, since, fired_at, recurrences)
    select value ->> 'alarm_id', value ->> 'kind', value ->> 'key', value -> 'cause', value ->> 'since',
        value ->> 'fired_at', value ->> 'recurrences'
    from json_each(?1) where ?2 is not null
    on conflict do nothing";

const CLEAR: &str = "
    update alarms set clear_since = ?2
    where alarm_id in (select value from json_each(?1)) and resolved_at is null and clear_since is null";

const RETURN: &str = "
    update alarms set clear_since = null
    where alarm_id in (select value from json_each(?1)) and ?2 is not null
        and resolved_at is null and clear_since is not null";

const RESOLVE: &str = "
    update alarms set clear_since = gone.value ->> 'clear_since', resolved_at = ?2
    from json_each(?1) as gone
    where alarms.alarm_id = gone.value ->> 'alarm_id' and alarms.resolved_at is null";

const ADD_CHANNELS: &str = "
    insert into alarm_channels (channel) select distinct value ->> 'channel' from json_each(?1) where true
    on conflict do nothing";

const ADD_MESSAGES: &str = "
    insert into alarm_messages (message_id, channel, notice, created_at)
    select value ->> 'message_id', value ->> 'channel', value -> 'notice', ?2 from json_each(?1) order by key";

const LINES: &str = "
    select json_object('channel', c.channel, 'claimed_by', c.claimed_by, 'claimed_until', c.claimed_until,
        'paced_until', c.paced_until, 'failures', c.failures, 'failing_since', c.failing_since,
        'next_attempt_at', c.next_attempt_at, 'last_error', c.last_error, 'last_delivered_at', c.last_delivered_at,
        'waiting', (select count(*) from alarm_messages as m where m.channel = c.channel and m.settled_at is null))
    from alarm_channels as c order by c.channel";

const LINE: &str = "
    select json_object('claimed_by', c.claimed_by, 'claimed_until', c.claimed_until, 'paced_until', c.paced_until,
        'failures', c.failures, 'failing_since', c.failing_since, 'next_attempt_at', c.next_attempt_at,
        'last_error', c.last_error, 'last_delivered_at', c.last_delivered_at)
    from alarm_channels as c where c.channel = ?1";

const FIRST_MESSAGE: &str = "
    select json_object('position', m.position, 'message_id', m.message_id, 'notice', json(m.notice),
        'created_at', m.created_at, 'attempts', m.attempts)
    from alarm_messages as m where m.channel = ?1 and m.settled_at is null order by m.position limit 1";

const WRITE_LINE: &str = "
    update alarm_channels set claimed_by = ?2 ->> 'claimed_by', claimed_until = ?2 ->> 'claimed_until',
        paced_until = ?2 ->> 'paced_until', failures = ?2 ->> 'failures', failing_since = ?2 ->> 'failing_since',
        next_attempt_at = ?2 ->> 'next_attempt_at', last_error = ?2 ->> 'last_error',
        last_delivered_at = ?2 ->> 'last_delivered_at'
    where channel = ?1";

const WRITE_MESSAGE: &str = "
    update alarm_messages set attempts = attempts + ?2, settled_at = ?3, outcome = ?4 where position = ?1";

const DROP: &str = "
    update alarm_messages set settled_at = ?1, outcome = 'dropped'
    where settled_at is null
        and (created_at < ?2 or position <= (
            select n.position from alarm_messages as n
            where n.channel = alarm_messages.channel and n.settled_at is null
            order by n.position desc limit 1 offset ?3))
    returning channel";

const DELETE_MESSAGES: &str = "
    delete from alarm_messages where position in (
        select position from alarm_messages where settled_at < ?1 order by settled_at limit ?2)";

const DELETE_ALARMS: &str = "
    delete from alarms where alarm_id in (
        select alarm_id from alarms where resolved_at < ?1 order by resolved_at limit ?2)";

const DELETE_SIGHTINGS: &str = "
    delete from alarm_sightings where (kind, key, holder) in (
        select kind, key, holder from alarm_sightings where seen_at < ?1 limit ?2)";
