-- Marks the check ?1 as running, unless it is finished. A check that goes on after a crash keeps its
-- start and its total.
update consistency_checks
set state = 'running', started_at = coalesce(started_at, {now}), advanced_at = {now},
    work_orders_total = coalesce(work_orders_total, ?2)
where check_id = ?1 and state in ('waiting', 'running')
