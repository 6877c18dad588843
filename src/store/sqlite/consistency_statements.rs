//! All SQL of the monitor's part of the embedded store; see `statements` for the ways of
//! writing it.

/// Now, as all times are kept.
macro_rules! now {
    () => {
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    };
}

/// The columns of a row of the log `l` that a check reads.
macro_rules! logged {
    () => {
        "l.request_id, l.work_order, l.seq, l.at_seq, l.counter, l.action, l.quantity, l.delta, l.before, l.after,
            l.step_canonical as step, l.barcode_canonical as barcode, l.fence, l.recorded_at"
    };
}

/// The columns of a claim `c` whose holder nobody asks for.
macro_rules! claimed {
    () => {
        "c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity, true as held"
    };
}

/// A check `c` as JSON, field by column.
macro_rules! check_json {
    () => {
        "json_object('check_id', c.check_id, 'range', c.range, 'work_order', c.work_order, 'since', c.since,
            'state', c.state, 'requested_by', c.requested_by, 'requested_at', c.requested_at,
            'started_at', c.started_at, 'advanced_at', c.advanced_at, 'finished_at', c.finished_at,
            'read_up_to', c.read_up_to, 'work_orders_total', c.work_orders_total,
            'work_orders_read', c.work_orders_read, 'rows_read', c.rows_read, 'findings_seen', c.findings_seen,
            'error', c.error)"
    };
}

/// A finding `f` as JSON, field by column.
macro_rules! finding_json {
    () => {
        "json_object('finding_id', f.finding_id, 'first_check_id', f.first_check_id,
            'last_check_id', f.last_check_id, 'work_order', f.work_order, 'kind', f.kind, 'counter', f.counter,
            'seq', f.seq, 'request_id', f.request_id, 'expected', json(f.expected), 'actual', json(f.actual),
            'details', json(f.details), 'remedy', f.remedy, 'state', f.state, 'found_at', f.found_at,
            'seen_at', f.seen_at, 'repaired_at', f.repaired_at, 'resolved_at', f.resolved_at)"
    };
}

/// One moment for all statements up to COMMIT: a reader's snapshot is that of its first one.
pub(super) const SNAPSHOT: &str = "begin";

pub(super) const NOW: &str = concat!("select json_quote(", now!(), ")");

/// The next ?2 numbers after ?1 that stand in any of the three tables: a row of the log or
/// a claim may belong to no work order. Log and claims are skipped through, a probe a number.
pub(super) const NAMES: &str = "
    with recursive logged(work_order, n) as (
        select min(l.work_order), 1 from update_log as l where l.work_order > ?1
        union all
        select (select min(l.work_order) from update_log as l where l.work_order > logged.work_order), logged.n + 1
        from logged where logged.work_order is not null and logged.n < ?2
    ), claimed(work_order, n) as (
        select min(c.work_order), 1 from barcode_claims as c where c.work_order > ?1
        union all
        select (select min(c.work_order) from barcode_claims as c where c.work_order > claimed.work_order),
            claimed.n + 1
        from claimed where claimed.work_order is not null and claimed.n < ?2
    ), named(work_order) as (
        select * from (select w.work_order from work_orders as w where w.work_order > ?1 order by w.work_order limit ?2)
        union
        select logged.work_order from logged where logged.work_order is not null
        union
        select claimed.work_order from claimed where claimed.work_order is not null
    )
    select 'found' as kind, named.work_order, coalesce(w.seq, 0) as n
    from named left join work_orders as w on w.work_order = named.work_order
    order by named.work_order limit ?2";

/// Of the next ?2 work orders after ?1 those that were written at ?3 or later, and how far
/// was looked. There is no index on that: each scan would have to maintain it.
pub(super) const NAMES_CHANGED: &str = "
    with looked as materialized (
        select w.work_order, w.seq, w.updated_at
        from work_orders as w where w.work_order > ?1 order by w.work_order limit ?2
    )
    select 'found' as kind, looked.work_order, looked.seq as n from looked where looked.updated_at >= ?3
    union all
    select 'looked', max(looked.work_order), count(*) from looked having count(*) > 0";

pub(super) const COUNT_ALL: &str = "select json_quote(count(*)) from work_orders";

pub(super) const COUNT_CHANGED: &str = "select json_quote(count(*)) from work_orders where updated_at >= ?1";

/// The whole logs of the work orders ?1, at most ?2 rows.
pub(super) const PAGE_LOG: &str = concat!(
    "select ",
    logged!(),
    " from json_each(?1) as wanted cross join update_log as l on l.work_order = wanted.value limit ?2"
);

/// All claims of the work orders ?1, at most ?2.
pub(super) const PAGE_CLAIMS: &str = concat!(
    "select ",
    claimed!(),
    " from json_each(?1) as wanted cross join barcode_claims as c on c.work_order = wanted.value limit ?2"
);

/// The next ?3 counted rows of the work order ?1 after the seq ?2.
pub(super) const COUNTED: &str = concat!(
    "select ",
    logged!(),
    " from update_log as l where l.work_order = ?1 and l.seq > ?2 order by l.seq limit ?3"
);

/// The next ?5 refused rows of the work order ?1 after (?2, ?3, ?4).
pub(super) const REFUSED: &str = concat!(
    "select ",
    logged!(),
    " from update_log as l
    where l.work_order = ?1 and l.seq is null and (l.at_seq, l.recorded_at, l.request_id) > (?2, ?3, ?4)
    order by l.at_seq, l.recorded_at, l.request_id limit ?5"
);

pub(super) const LAST_SEQ: &str =
    "select json_quote(coalesce(max(l.seq), 0)) from update_log as l where l.work_order = ?1";

/// The next ?6 claims of the work order ?1 after (?2, ?3, ?4, ?5), each with whether a
/// counted scan of the same barcode holds it.
pub(super) const CLAIMS: &str = "
    select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity,
        exists (select 1 from update_log as l
            where l.request_id = c.request_id and +l.work_order = c.work_order and l.counter = c.counter
            and l.step_canonical = c.step and +l.barcode_canonical = c.barcode and l.quantity = c.quantity
            and l.seq is not null and l.action = 'scan'
            and ((select w.barcode_policy from work_orders as w where w.work_order = ?1) <> 'once'
                or not exists (select 1 from update_log as u
                    where u.barcode_canonical = c.barcode and +u.work_order = c.work_order and u.counter = c.counter
                    and u.step_canonical = c.step and u.action = 'unbind' and +u.seq > l.seq))) as held
    from barcode_claims as c
    where c.work_order = ?1 and (c.counter, c.step, c.barcode, c.ordinal) > (?2, ?3, ?4, ?5)
    order by c.counter, c.step, c.barcode, c.ordinal limit ?6";

/// The last seq of the work order ?1, and how many claims the barcode (?2, ?3, ?4) has.
pub(super) const COUNT_CLAIMS: &str = "
    select (select coalesce(max(l.seq), 0) from update_log as l where l.work_order = ?1),
        (select count(*) from barcode_claims as c
            where c.work_order = ?1 and c.counter = ?2 and c.step = ?3 and c.barcode = ?4)";

/// At most ?3 counted rows of the barcodes ?2 of the work order ?1, whatever counter and step.
pub(super) const PARTS: &str = concat!(
    "select ",
    logged!(),
    " from (select distinct value ->> 'barcode' as barcode from jsonb_each(?2)) as wanted cross join update_log as l
    on l.barcode_canonical = wanted.barcode and +l.work_order = ?1 and l.seq is not null limit ?3"
);

/// At most ?3 claims of the barcodes ?2 of the work order ?1.
pub(super) const PARTS_CLAIMS: &str = concat!(
    "select ",
    claimed!(),
    " from jsonb_each(?2) as wanted cross join barcode_claims as c
    on c.work_order = ?1 and c.counter = wanted.value ->> 'counter' and c.step = wanted.value ->> 'step'
    and c.barcode = wanted.value ->> 'barcode' limit ?3"
);

/// Takes the turn for ?1 if it is free, run out or its own already; ?2 as in '+10.0 seconds'.
pub(super) const TAKE_TURN: &str = concat!(
    "update consistency_lease set holder = ?1, expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?2)
    where lease = 1 and (holder is null or holder = ?1 or expires_at < ",
    now!(),
    // what no turn lasts was written by a clock that was set back since
    " or expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?2, '+60 seconds'))"
);

/// Renews the turn of ?1.
pub(super) const RENEW_TURN: &str = "
    update consistency_lease set expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?2)
    where lease = 1 and holder = ?1";

pub(super) const END_TURN: &str = "update consistency_lease set holder = null where lease = 1 and holder = ?1";

/// Notes a check, unless ?6 are unfinished.
pub(super) const ASK_CHECK: &str = concat!(
    "insert into consistency_checks (check_id, range, work_order, since, state, requested_by, requested_at)
    select ?1, ?2, ?3, ?4, 'waiting', ?5, ",
    now!(),
    " where (select count(*) from consistency_checks where state in ('waiting', 'running')) < ?6"
);

pub(super) const UNFINISHED: &str = concat!(
    "select ",
    check_json!(),
    " from consistency_checks as c where c.state in ('waiting', 'running') order by c.requested_at, c.check_id"
);

pub(super) const BEGIN_CHECK: &str = concat!(
    "update consistency_checks set state = 'running', started_at = coalesce(started_at, ",
    now!(),
    "), advanced_at = ",
    now!(),
    ", work_orders_total = coalesce(work_orders_total, ?2)
    where check_id = ?1 and state in ('waiting', 'running')"
);

/// Opens of ?2 what is new, marks as seen what is known, and leaves alone what was
/// repaired at ?3 or later. (`where true` parts the select from the conflict clause.)
pub(super) const OPEN_FINDINGS: &str = concat!(
    "insert into consistency_findings (finding_id, first_check_id, last_check_id, work_order, kind, counter, seq,
        request_id, expected, actual, details, remedy, state, found_at, seen_at)
    select d.value ->> 'finding_id', ?1, ?1, d.value ->> 'work_order', d.value ->> 'kind', d.value ->> 'counter',
        d.value ->> 'seq', d.value ->> 'request_id', json(d.value -> 'expected'), json(d.value -> 'actual'),
        json(d.value -> 'details'), d.value ->> 'remedy', 'open', ",
    now!(),
    ", ",
    now!(),
    " from json_each(?2) as d
    where true and not exists (select 1 from consistency_findings as r
        where r.work_order = d.value ->> 'work_order' and r.kind = d.value ->> 'kind'
        and r.counter is d.value ->> 'counter' and r.repaired_at >= ?3)
    on conflict (work_order, kind, coalesce(counter, '')) where state = 'open'
    do update set last_check_id = excluded.last_check_id, seq = excluded.seq, request_id = excluded.request_id,
        expected = excluded.expected, actual = excluded.actual, details = excluded.details,
        remedy = excluded.remedy, seen_at = excluded.seen_at"
);

/// Resolves what the check ?1 has not seen of the work orders ?2, read since ?3.
pub(super) const RESOLVE: &str = concat!(
    "update consistency_findings set state = 'resolved', resolved_at = ",
    now!(),
    " where state <> 'resolved' and work_order in (select value from json_each(?2)) and last_check_id <> ?1
    and seen_at < ?3"
);

/// Resolves what the check ?1 has not seen, if it has read everything.
pub(super) const RESOLVE_REST: &str = concat!(
    "update consistency_findings as f set state = 'resolved', resolved_at = ",
    now!(),
    " from consistency_checks as c
    where c.check_id = ?1 and c.range = 'full' and c.state in ('good', 'drift')
    and f.state <> 'resolved' and f.last_check_id <> ?1 and f.seen_at < c.started_at"
);

pub(super) const ADVANCE: &str = concat!(
    "update consistency_checks set advanced_at = ",
    now!(),
    ", read_up_to = coalesce(?2, read_up_to), work_orders_read = work_orders_read + ?3,
    rows_read = rows_read + ?4, findings_seen = findings_seen + ?5
    where check_id = ?1"
);

pub(super) const END_CHECK: &str = concat!(
    "update consistency_checks set state = ?2, error = ?3, finished_at = ",
    now!(),
    " where check_id = ?1 and state in ('waiting', 'running')"
);

/// Drops the oldest reports beyond ?1, but never the last good one of a range.
pub(super) const PRUNE_CHECKS: &str = "
    delete from consistency_checks where state in ('good', 'drift', 'failed')
    and check_id not in (select check_id from consistency_checks order by requested_at desc, check_id desc limit ?1)
    and check_id is not (select g.check_id from consistency_checks as g
        where g.state = 'good' and g.range = 'recent' order by g.started_at desc limit 1)
    and check_id is not (select g.check_id from consistency_checks as g
        where g.state = 'good' and g.range = 'full' order by g.started_at desc limit 1)";

/// Drops the findings beyond ?1 that were settled longest ago.
pub(super) const PRUNE_FINDINGS: &str = "
    delete from consistency_findings where state = 'resolved' and finding_id not in (
        select finding_id from consistency_findings where state = 'resolved'
        order by resolved_at desc, finding_id desc limit ?1)";

pub(super) const CHECK: &str = concat!("select ", check_json!(), " from consistency_checks as c where c.check_id = ?1");

/// The last check of the ranges ?1 that began; with ?2 that was good.
pub(super) const LAST_CHECK: &str = concat!(
    "select ",
    check_json!(),
    " from consistency_checks as c
    where c.range in (select value from json_each(?1)) and (not ?2 or c.state = 'good')
        -- null is none, and neither is what a clock has dated that was set back since
        and c.started_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+60 seconds')
    order by c.started_at desc, c.check_id desc limit 1"
);

/// A page of findings, newest first: in state ?1, of work order ?2, last seen by check ?3,
/// older than (?4, ?5); at most ?6.
pub(super) const FINDINGS: &str = concat!(
    "select ",
    finding_json!(),
    " from consistency_findings as f
    where (?1 is null or f.state = ?1) and (?2 is null or f.work_order = ?2)
        and (?3 is null or f.last_check_id = ?3) and (?4 is null or (f.found_at, f.finding_id) < (?4, ?5))
    order by f.found_at desc, f.finding_id desc limit ?6"
);

pub(super) const OPEN_COUNT: &str = "select json_quote(count(*)) from consistency_findings where state = 'open'";

pub(super) const FINDING: &str =
    concat!("select ", finding_json!(), " from consistency_findings as f where f.finding_id = ?1");

macro_rules! audit_entry {
    ($from:literal) => {
        concat!(
            "select json_object('request_id', a.request_id, 'action', a.action, 'work_order', a.work_order,
                'finding_id', a.finding_id, 'recorded_at', a.recorded_at, 'recorded_by', a.recorded_by,
                'operator', a.operator, 'reason', a.reason, 'payload', json(a.payload), 'before', json(a.before),
                'after', json(a.after)) ",
            $from
        )
    };
}

pub(super) const AUDIT_ENTRY: &str = audit_entry!("from audit_trail as a where a.request_id = ?1");

pub(super) const AUDIT_ENTRIES: &str = audit_entry!(
    "from json_each(?1) as wanted
     cross join audit_trail as a on a.work_order = wanted.value and a.action = ?2
     order by wanted.key, a.recorded_at"
);

/// What a repair may change of the work order ?1.
pub(super) const MEND: &str = "
    update work_orders set status = ?2, input_quantity = ?3, output_quantity = ?4, scrap_quantity = ?5, seq = ?6,
        barcode_counted = ?7, stamp = ?8, updated_at = ?9, fence = ?10, fence_owner = ?11
    where work_order = ?1";

pub(super) const DELETE_CLAIM: &str = "
    delete from barcode_claims
    where work_order = ?1 and counter = ?2 and step = ?3 and barcode = ?4 and ordinal = ?5";

pub(super) const SET_CLAIM: &str = "
    insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    on conflict (work_order, counter, step, barcode, ordinal)
    do update set request_id = excluded.request_id, quantity = excluded.quantity";

pub(super) const MARK_REPAIRED: &str =
    concat!("update consistency_findings set state = 'repaired', repaired_at = ", now!(), " where finding_id = ?1");

pub(super) const RECORD_REPAIR: &str = "
    insert into audit_trail (request_id, action, work_order, finding_id, recorded_at, recorded_by, operator, reason,
        payload, before, after)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn no_statement_over_the_log_walks_a_table() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory is there");
        for schema in [
            include_str!("../../../migrations/sqlite/0001_planning.sql"),
            include_str!("../../../migrations/sqlite/0002_counting.sql"),
            include_str!("../../../migrations/sqlite/0003_consistency.sql"),
        ] {
            connection.execute(schema).await.expect("the schema is sound");
        }
        for statement in
            [NAMES, PAGE_LOG, PAGE_CLAIMS, COUNTED, REFUSED, LAST_SEQ, CLAIMS, COUNT_CLAIMS, PARTS, PARTS_CLAIMS]
        {
            let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
            let steps: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(explain).fetch_all(&mut connection).await.expect("the statement is sound");
            let walks: Vec<&String> = steps
                .iter()
                .map(|(_, _, _, step)| step)
                .filter(|step| ["SCAN l", "SCAN c", "SCAN w"].iter().any(|scan| step.starts_with(scan)))
                .filter(|step| !["SCAN logged", "SCAN claimed", "SCAN wanted"].contains(&step.as_str()))
                .filter(|step| !step.contains("VIRTUAL TABLE"))
                .collect();
            assert!(walks.is_empty(), "{walks:?} in {statement}");
        }
    }
}
