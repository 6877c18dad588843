-- Work orders are locked and updated one by one in the order of the array, all of them
-- (`gate`) before the first log row goes in, and log rows go in sorted by request id.
--
-- (… in (select …)) is true: kept as a hashed look-up, not turned into a join.
wanted as materialized (
    select *
    from unnest($3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
                $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::boolean[], $15::timestamptz[])
        as w(work_order, loaded, tenure_fence, fence_owner, status, input_quantity, output_quantity,
             scrap_quantity, seq, fence, stamp, barcode_counted, updated_at)
    where w.work_order not in (select held_back.work_order from held_back)
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
)
