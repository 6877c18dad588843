-- Locks work orders in the order given, and reads each as it is once locked: a lateral
-- probe per element keeps to that order, where a join would lock in the planner's.
select 'work_order' as kind, row_to_json(hit)::text as row
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from work_orders w where w.work_order = wanted.work_order limit 1
    for no key update
) hit
