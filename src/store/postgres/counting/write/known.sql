-- request ids that no load has looked up and that are decided already
known as materialized (
    select unverified.work_order, row_to_json(hit)::text as row
    from (select {unverified}) unverified
    cross join lateral (
        select * from update_log l where l.request_id = unverified.request_id limit 1
    ) hit
)
