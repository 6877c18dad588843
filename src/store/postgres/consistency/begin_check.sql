-- Marks the check $1 as running, unless it is finished, and returns it. A check that goes on after a
-- crash keeps its start and its total.
update consistency_checks c
set state = 'running', started_at = coalesce(started_at, clock_timestamp()), advanced_at = clock_timestamp(),
    work_orders_total = coalesce(work_orders_total, $2)
where c.check_id = $1 and c.state in ('waiting', 'running')
returning row_to_json(c)::text
