-- the rows of the log, in the order in which they go in
updates as not materialized (
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
)
