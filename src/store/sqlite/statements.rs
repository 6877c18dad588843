//! All SQL of the embedded store.
//!
//! `cross join` is SQLite's way to say which table leads: the list that was sent, so
//! that the log is looked up by its index however large it grows (pitfall 47).
//!
//! Lists of objects go through `jsonb_each`, lists of texts through `json_each`: the
//! latter would write an object out as text again for every field that is taken from it.
//! The rows of a batch are bound value by value ([`OnRows`]). `or rollback`: a conflict fails the
//! whole batch, and spares SQLite the journal that would undo the one statement.

use super::calls::OnRows;

/// A work order `w` as JSON, field by column.
macro_rules! work_order_json {
    () => {
        "json_object('work_order', w.work_order, 'planned_quantity', w.planned_quantity,
            'over_plan_allowance', w.over_plan_allowance, 'barcode_policy', w.barcode_policy,
            'product_code', w.product_code, 'product_name', w.product_name, 'line', w.line,
            'hold', w.hold, 'hold_reason', w.hold_reason, 'status', w.status,
            'input_quantity', w.input_quantity, 'output_quantity', w.output_quantity,
            'scrap_quantity', w.scrap_quantity, 'seq', w.seq, 'fence', w.fence,
            'fence_owner', w.fence_owner, 'stamp', w.stamp, 'revision', w.revision,
            'barcode_counted', json(iif(w.barcode_counted, 'true', 'false')),
            'created_at', w.created_at, 'updated_at', w.updated_at)"
    };
}

/// An update `u` as JSON, field by column.
macro_rules! update_json {
    () => {
        "json_object('request_id', u.request_id, 'work_order', u.work_order, 'seq', u.seq, 'at_seq', u.at_seq,
            'counter', u.counter, 'action', u.action, 'quantity', u.quantity, 'asked_delta', u.asked_delta,
            'set_to', u.set_to, 'expected', u.expected, 'delta', u.delta, 'before', u.before, 'after', u.after,
            'barcode', u.barcode, 'barcode_canonical', u.barcode_canonical,
            'step', u.step, 'step_canonical', u.step_canonical,
            'station', u.station, 'terminal', u.terminal, 'operator', u.operator,
            'reason', u.reason, 'note', u.note, 'fence', u.fence, 'work_order_status', u.work_order_status,
            'remaining', u.remaining, 'scanned_at', u.scanned_at, 'recorded_at', u.recorded_at,
            'recorded_by', u.recorded_by, 'outcome', u.outcome, 'code', u.code,
            'original_request_id', u.original_request_id, 'rendering', u.rendering)"
    };
}

/// A claim `c` as JSON, field by column.
macro_rules! claim_json {
    () => {
        "json_object('work_order', c.work_order, 'counter', c.counter, 'step', c.step, 'barcode', c.barcode,
            'ordinal', c.ordinal, 'request_id', c.request_id, 'quantity', c.quantity)"
    };
}

/// The newest claims `c` of a `wanted` barcode, as many as its depth says. The ordinals of
/// one barcode are 1..n without gaps, so they are counted from the highest.
macro_rules! newest_claims {
    () => {
        "barcode_claims as c
        on c.work_order = wanted.value ->> 'work_order' and c.counter = wanted.value ->> 'counter'
        and c.step = wanted.value ->> 'step' and c.barcode = wanted.value ->> 'barcode'
        and c.ordinal > (select max(n.ordinal) from barcode_claims as n
            where n.work_order = wanted.value ->> 'work_order' and n.counter = wanted.value ->> 'counter'
            and n.step = wanted.value ->> 'step' and n.barcode = wanted.value ->> 'barcode')
            - (wanted.value ->> 'depth')"
    };
}

/// The filters of a work order's list of updates, but for place and barcode.
macro_rules! update_filters {
    () => {
        "(?6 is null or u.counter = ?6) and (?8 is null or u.recorded_at >= ?8)
            and (?9 is null or u.recorded_at < ?9)"
    };
}

/// Takes the write lock at once: a transaction that began by reading could find
/// another writer ahead of it when it comes to write.
pub(super) const BEGIN: &str = "begin immediate";

pub(super) const COMMIT: &str = "commit";

pub(super) const ROLLBACK: &str = "rollback";

/// A write that means nothing: the number is not used, but its page goes to the disk.
pub(super) const WRITE_ONE_PAGE: &str = "pragma user_version = 0";

/// All that bears on a batch: ?1 work orders, ?2 request ids, ?3 claims with depth.
pub(super) const LOAD: &str = concat!(
    "select (select json_group_array(",
    work_order_json!(),
    ")
        from json_each(?1) as wanted cross join work_orders as w on w.work_order = wanted.value),
    (select json_group_array(",
    update_json!(),
    ")
        from json_each(?2) as wanted cross join update_log as u on u.request_id = wanted.value),
    (select json_group_array(",
    claim_json!(),
    ") from jsonb_each(?3) as wanted cross join ",
    newest_claims!(),
    ")"
);

/// Takes the write lock, and finds out what the batch does not know: the newest claim of each
/// barcode of ?1, and the updates that made them or have one of the request ids ?2.
pub(super) const BEGIN_AND_FIND: &str = concat!(
    "begin immediate;
    with claimed (request_id, claim) as materialized (select c.request_id, ",
    claim_json!(),
    " from jsonb_each(?1) as wanted cross join ",
    newest_claims!(),
    "),
    ids (request_id) as (select value from json_each(?2) union all select request_id from claimed)
    select (select json_group_array(json(claim)) from claimed), (select json_group_array(",
    update_json!(),
    ") from ids cross join update_log as u on u.request_id = ids.request_id)"
);

/// Updates the work orders whose row is as loaded and whose fence is allowed: a newer one,
/// or the same one of the same owner. Gives the numbers of those that it has updated.
pub(super) static GUARD: OnRows = OnRows::new(
    "
    update or rollback work_orders as w set
        status = next.status, input_quantity = next.input_quantity, output_quantity = next.output_quantity,
        scrap_quantity = next.scrap_quantity, seq = next.seq, fence = next.fence, fence_owner = next.fence_owner,
        stamp = next.stamp, barcode_counted = next.barcode_counted, updated_at = next.updated_at
    from (
        select column1 as work_order, column2 as loaded, column3 as status, column4 as input_quantity,
            column5 as output_quantity, column6 as scrap_quantity, column7 as seq, column8 as fence,
            column9 as fence_owner, column10 as stamp, column11 as barcode_counted, column12 as updated_at
        from",
    12,
    ") as next
    where w.work_order = next.work_order and w.stamp = next.loaded
        and (w.fence < next.fence or (w.fence = next.fence
            and (w.fence_owner is null or w.fence_owner = next.fence_owner)))
    returning work_order",
);

/// Adds updates to the log. A plain insert: a conflict must fail the whole batch.
pub(super) static RECORD: OnRows = OnRows::new(
    "
    insert or rollback into update_log (request_id, work_order, seq, at_seq, counter, action, quantity, asked_delta, set_to,
        expected, delta, before, after, barcode, barcode_canonical, step, step_canonical, station, terminal,
        operator, reason, note, fence, work_order_status, remaining, scanned_at, recorded_at, recorded_by, outcome,
        code, original_request_id, rendering)
    select * from",
    32,
    "where column1 is not null",
);

/// Deletes the claims of ?1, each only while the update that we know of holds it.
pub(super) const DELETE_CLAIMS: &str = "
    delete from barcode_claims where (work_order, counter, step, barcode, ordinal, request_id) in (
        select value ->> 'work_order', value ->> 'counter', value ->> 'step', value ->> 'barcode',
            value ->> 'ordinal', value ->> 'request_id'
        from jsonb_each(?1))";

/// Hands the claims of ?1 to another update.
pub(super) const TAKE_OVER_CLAIMS: &str = "
    update barcode_claims as c set request_id = next.row ->> 'request_id', quantity = next.row ->> 'quantity'
    from (select value as row from jsonb_each(?1)) as next
    where c.work_order = next.row ->> 'work_order' and c.counter = next.row ->> 'counter'
        and c.step = next.row ->> 'step' and c.barcode = next.row ->> 'barcode'
        and c.ordinal = next.row ->> 'ordinal'";

/// Makes claims. A plain insert, as for the log.
pub(super) static INSERT_CLAIMS: OnRows = OnRows::new(
    "
    insert or rollback into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
    select * from",
    7,
    "where column1 is not null",
);

/// Writes the whole rows of ?1, there or not.
pub(super) const REPLACE: &str = "
    insert or replace into work_orders (work_order, planned_quantity, over_plan_allowance, barcode_policy,
        product_code, product_name, line, hold, hold_reason, status, input_quantity, output_quantity,
        scrap_quantity, seq, fence, fence_owner, stamp, revision, barcode_counted, created_at, updated_at)
    select value ->> 'work_order', value ->> 'planned_quantity', value ->> 'over_plan_allowance',
        value ->> 'barcode_policy', value ->> 'product_code', value ->> 'product_name', value ->> 'line',
        value ->> 'hold', value ->> 'hold_reason', value ->> 'status', value ->> 'input_quantity',
        value ->> 'output_quantity', value ->> 'scrap_quantity', value ->> 'seq', value ->> 'fence',
        value ->> 'fence_owner', value ->> 'stamp', value ->> 'revision', value ->> 'barcode_counted',
        value ->> 'created_at', value ->> 'updated_at'
    from jsonb_each(?1)";

/// The work order ?1.
pub(super) const WORK_ORDER: &str =
    concat!("select ", work_order_json!(), " from work_orders as w where w.work_order = ?1");

/// Work orders after ?1, with status ?2, of line ?3, with the text ?4 in number, product
/// or line; at most ?5. `lower` folds ASCII letters only, as `lower(… collate "C")` does
/// on PostgreSQL; every other letter is searched as written.
pub(super) const WORK_ORDERS: &str = concat!(
    "select ",
    work_order_json!(),
    " from work_orders as w
    where w.work_order > ?1 and (?2 is null or w.status = ?2) and (?3 is null or w.line = ?3)
        and (?4 is null or instr(lower(w.work_order), lower(?4)) or instr(lower(w.product_code), lower(?4))
            or instr(lower(w.product_name), lower(?4)) or instr(lower(w.line), lower(?4)))
    order by w.work_order limit ?5"
);

/// Updates of the work order ?1, newest first: counted ones below seq ?2 and refused ones
/// below (?3, ?4, ?5), each walked down its own index; with counter ?6, outcome ?7,
/// recorded from ?8 to ?9; at most ?10.
pub(super) const UPDATES: &str = concat!(
    "select ",
    update_json!(),
    " from (
        select * from (select u.*, u.seq as place from update_log as u
            where u.work_order = ?1 and u.seq < ?2 and ?7 is not 'refused' and ",
    update_filters!(),
    "
            order by u.seq desc limit ?10)
        union all
        select * from (select u.*, u.at_seq as place from update_log as u
            where u.work_order = ?1 and u.seq is null and (u.at_seq, u.recorded_at, u.request_id) < (?3, ?4, ?5)
            and ?7 is not 'counted' and ",
    update_filters!(),
    "
            order by u.at_seq desc, u.recorded_at desc, u.request_id desc limit ?10)
    ) as u
    order by u.place desc, u.seq is null desc, u.recorded_at desc, u.request_id desc limit ?10"
);

/// The same, of the barcode ?11 only: found by the barcode's index, then sorted.
pub(super) const UPDATES_OF_PART: &str = concat!(
    "select ",
    update_json!(),
    " from update_log as u
    where u.barcode_canonical = ?11 and +u.work_order = ?1
        and iif(u.seq is null, (u.at_seq, u.recorded_at, u.request_id) < (?3, ?4, ?5), u.seq < ?2)
        and (?7 is null or u.outcome = ?7) and ",
    update_filters!(),
    "
    order by coalesce(u.seq, u.at_seq) desc, u.seq is null desc, u.recorded_at desc, u.request_id desc limit ?10"
);

/// Updates of the barcode ?1 older than (?2, ?3), newest first; at most ?4.
pub(super) const UPDATES_OF_BARCODE: &str = concat!(
    "select ",
    update_json!(),
    " from update_log as u
    where u.barcode_canonical = ?1 and (u.recorded_at, u.request_id) < (?2, ?3)
    order by u.recorded_at desc, u.request_id desc limit ?4"
);

/// Updates of the request ids ?1.
pub(super) const UPDATES_BY_ID: &str = concat!(
    "select ",
    update_json!(),
    "
    from json_each(?1) as wanted cross join update_log as u on u.request_id = wanted.value"
);

/// The applied migrations.
pub(super) const MIGRATIONS: &str = "select json_quote(version) from _sqlx_migrations where success";

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    use super::*;

    /// The plan of a statement, a step a line. Without `analyze` it depends on the
    /// schema alone, so it stays the same however large the tables grow.
    async fn plan_of(statement: &'static str) -> Vec<String> {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory is there");
        let schema = concat!(
            include_str!("../../../migrations/sqlite/0001_planning.sql"),
            include_str!("../../../migrations/sqlite/0002_counting.sql")
        );
        connection.execute(schema).await.expect("the schema is sound");
        let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
        let steps: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(&mut connection).await.expect("the statement is sound");
        steps.into_iter().map(|(_, _, _, detail)| detail).collect()
    }

    /// The steps that walk something from end to end, but for lists that came with the statement.
    async fn walks_of(statement: &'static str) -> Vec<String> {
        let sent = ["VIRTUAL TABLE", "CONSTANT", "VALUES CLAUSE"];
        let plan = plan_of(statement).await.into_iter();
        plan.filter(|step| step.starts_with("SCAN") && !sent.iter().any(|list| step.contains(list))).collect()
    }

    #[tokio::test]
    async fn pitfall_47_no_statement_of_the_counting_path_walks_a_table() {
        for statement in [
            LOAD,
            GUARD.text(24),
            RECORD.text(24),
            DELETE_CLAIMS,
            TAKE_OVER_CLAIMS,
            INSERT_CLAIMS.text(24),
            REPLACE,
            WORK_ORDER,
            UPDATES_BY_ID,
        ] {
            let walks = walks_of(statement).await;
            assert!(walks.is_empty(), "{walks:?} in {statement}");
        }
        let find = BEGIN_AND_FIND.split_once(';').expect("it takes the lock first").1;
        assert_eq!(walks_of(find).await, ["SCAN claimed", "SCAN claimed", "SCAN ids"], "its own lists alone");
    }

    #[tokio::test]
    async fn lists_are_walked_down_an_index() {
        for (statement, steps) in [
            (WORK_ORDERS, &["SEARCH w USING PRIMARY KEY (work_order>?)"][..]),
            (
                UPDATES,
                &[
                    "SEARCH u USING INDEX sqlite_autoindex_update_log_2 (work_order=? AND seq<?)",
                    "SEARCH u USING INDEX update_log_refused (work_order=? AND (at_seq,recorded_at,request_id)<(?,?,?))",
                ],
            ),
            (UPDATES_OF_PART, &["SEARCH u USING INDEX update_log_barcode (barcode_canonical=?)"]),
            (
                UPDATES_OF_BARCODE,
                &["SEARCH u USING INDEX update_log_barcode (barcode_canonical=? AND (recorded_at,request_id)<(?,?))"],
            ),
        ] {
            let plan = plan_of(statement).await;
            for step in steps {
                assert!(plan.iter().any(|found| found == step), "{step} in {plan:#?}");
            }
        }
    }
}
