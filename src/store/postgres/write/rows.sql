-- Work orders are locked and updated one by one in the order of their arrays, all of them
-- (`gate`) before the first log row goes in, and log rows go in in the order of theirs: no
-- plan of this statement sorts, hashes or merges what it unnests.
--
-- (… in (select …)) is true: kept as a hashed look-up, not turned into a join.
wanted as not materialized (
    select *
    from (
        select unnest($3::text[]) as work_order, unnest($4::bigint[]) as loaded, unnest($5::bigint[]) as tenure_fence,
               unnest($6::text[]) as fence_owner, unnest($7::text[]) as status, unnest($8::bigint[]) as input_quantity,
               unnest($9::bigint[]) as output_quantity, unnest($10::bigint[]) as scrap_quantity, unnest($11::bigint[]) as seq,
               unnest($12::bigint[]) as fence, unnest($13::bigint[]) as stamp, unnest($14::boolean[]) as barcode_counted,
               unnest($15::timestamptz[]) as updated_at
    ) w
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
    from (
        select unnest($16::text[]) as request_id, unnest($17::text[]) as work_order, unnest($18::bigint[]) as seq,
               unnest($19::bigint[]) as at_seq, unnest($20::text[]) as counter, unnest($21::text[]) as action,
               unnest($22::bigint[]) as quantity, unnest($23::bigint[]) as asked_delta, unnest($24::bigint[]) as set_to,
               unnest($25::bigint[]) as expected, unnest($26::bigint[]) as delta, unnest($27::bigint[]) as before,
               unnest($28::bigint[]) as after, unnest($29::text[]) as barcode, unnest($30::text[]) as barcode_canonical,
               unnest($31::text[]) as step, unnest($32::text[]) as step_canonical, unnest($33::text[]) as station,
               unnest($34::text[]) as terminal, unnest($35::text[]) as operator, unnest($36::text[]) as reason,
               unnest($37::text[]) as note, unnest($38::bigint[]) as fence, unnest($39::text[]) as work_order_status,
               unnest($40::bigint[]) as remaining, unnest($41::timestamptz[]) as scanned_at, unnest($42::timestamptz[]) as recorded_at,
               unnest($43::text[]) as recorded_by, unnest($44::text[]) as outcome, unnest($45::text[]) as code,
               unnest($46::text[]) as original_request_id, unnest($47::smallint[]) as rendering
    ) u
    where (select gate.passed from gate) > 0 and (u.work_order in (select passed.work_order from passed)) is true
)
