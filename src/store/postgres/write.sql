-- The guarded write: one statement, one transaction.
--
-- Lock order is ours: work orders are locked and updated one by one in the order of the
-- array, all of them (`gate`) before the first log row goes in, and log rows go in sorted
-- by request id. So two writers never wait for each other in a ring.
--
-- (… in (select …)) is true: kept as a hashed look-up, not turned into a join.
with known as materialized (
    -- unverified request ids that are decided already: their work orders don't pass
    select unverified.work_order, row_to_json(hit)::text as row
    from unnest($1::text[], $2::text[]) as unverified(request_id, work_order)
    cross join lateral (
        select * from update_log l where l.request_id = unverified.request_id limit 1
    ) hit
), claimed as materialized (
    -- barcodes that nobody has looked up and that stand counted: their work orders don't pass
    select unclaimed.work_order, row_to_json(hit)::text as row, hit.request_id
    from unnest($56::text[], $57::text[], $58::text[], $59::text[]) as unclaimed(work_order, counter, step, barcode)
    cross join lateral (
        select * from barcode_claims c
        where c.work_order = unclaimed.work_order and c.counter = unclaimed.counter
          and c.step = unclaimed.step and c.barcode = unclaimed.barcode
        order by c.ordinal desc
        limit 1
    ) hit
), wanted as materialized (
    select *
    from unnest($3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
                $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::boolean[], $15::timestamptz[])
        as w(work_order, loaded, tenure_fence, fence_owner, status, input_quantity, output_quantity,
             scrap_quantity, seq, fence, stamp, barcode_counted, updated_at)
    where w.work_order not in (select known.work_order from known)
      and w.work_order not in (select claimed.work_order from claimed)
), passed as (
    -- by a nested loop over `wanted`: the session has no other join to choose from
    update work_orders w
    set status = wanted.status, input_quantity = wanted.input_quantity, output_quantity = wanted.output_quantity,
        scrap_quantity = wanted.scrap_quantity, seq = wanted.seq, fence = wanted.fence, fence_owner = wanted.fence_owner,
        stamp = wanted.stamp, barcode_counted = wanted.barcode_counted, updated_at = wanted.updated_at
    from wanted
    where w.work_order = wanted.work_order
      and w.stamp = wanted.loaded
      and (wanted.tenure_fence is null
           or w.fence < wanted.tenure_fence
           or (w.fence = wanted.tenure_fence and (w.fence_owner is null or w.fence_owner = wanted.fence_owner)))
    returning w.work_order
), gate as materialized (
    select count(*) as passed from passed
), logged as (
    insert into update_log (
        request_id, work_order, seq, at_seq, counter, action, quantity, asked_delta, set_to, expected,
        delta, before, after, barcode, barcode_canonical, step, step_canonical, station, terminal, operator,
        reason, note, fence, work_order_status, remaining, scanned_at, recorded_at, recorded_by, outcome, code,
        original_request_id, rendering)
    select
        u.request_id, u.work_order, u.seq, u.at_seq, u.counter, u.action, u.quantity, u.asked_delta, u.set_to, u.expected,
        u.delta, u.before, u.after, u.barcode, u.barcode_canonical, u.step, u.step_canonical, u.station, u.terminal, u.operator,
        u.reason, u.note, u.fence, u.work_order_status, u.remaining, u.scanned_at, u.recorded_at, u.recorded_by, u.outcome, u.code,
        u.original_request_id, u.rendering
    from unnest($16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::text[], $21::text[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[],
                $26::bigint[], $27::bigint[], $28::bigint[], $29::text[], $30::text[], $31::text[], $32::text[], $33::text[], $34::text[], $35::text[],
                $36::text[], $37::text[], $38::bigint[], $39::text[], $40::bigint[], $41::timestamptz[], $42::timestamptz[], $43::text[], $44::text[], $45::text[],
                $46::text[], $47::smallint[])
        with ordinality as u(
        request_id, work_order, seq, at_seq, counter, action, quantity, asked_delta, set_to, expected,
        delta, before, after, barcode, barcode_canonical, step, step_canonical, station, terminal, operator,
        reason, note, fence, work_order_status, remaining, scanned_at, recorded_at, recorded_by, outcome, code,
        original_request_id, rendering, place)
    where (select gate.passed from gate) > 0 and (u.work_order in (select passed.work_order from passed)) is true
    order by u.place
), claims as materialized (
    select *
    from unnest($48::text[], $49::text[], $50::text[], $51::text[], $52::text[], $53::bigint[], $54::text[], $55::bigint[])
        as c(change, work_order, counter, step, barcode, ordinal, request_id, quantity)
    where (select gate.passed from gate) > 0 and (c.work_order in (select passed.work_order from passed)) is true
), present as materialized (
    select claims.*, hit.ctid as place
    from claims
    cross join lateral (
        select b.ctid from barcode_claims b
        where b.work_order = claims.work_order and b.counter = claims.counter and b.step = claims.step
          and b.barcode = claims.barcode and b.ordinal = claims.ordinal
        limit 1
    ) hit
    where claims.change in ('delete', 'take_over')
), as_loaded as materialized (
    -- claims that are not as they were loaded fail the whole statement (division by zero)
    select 1 / (case when (select count(*) from present)
                        = (select count(*) from claims c where c.change in ('delete', 'take_over'))
                     then 1 else 0 end) as one
), deleted as (
    delete from barcode_claims b using present p where p.change = 'delete' and b.ctid = p.place
), taken_over as (
    update barcode_claims b
    set request_id = p.request_id, quantity = p.quantity
    from present p
    where p.change = 'take_over' and b.ctid = p.place
), inserted as (
    insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
    select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity
    from claims c where c.change = 'insert'
)
select 'passed' as kind, passed.work_order as row from passed where (select as_loaded.one from as_loaded) = 1
union all
select 'known', known.row from known
union all
select 'claimed', claimed.row from claimed
union all
-- the updates that counted those barcodes
select 'known', row_to_json(hit)::text
from claimed
cross join lateral (
    select * from update_log l where l.request_id = claimed.request_id limit 1
) hit
