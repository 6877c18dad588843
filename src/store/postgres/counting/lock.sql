-- Locks work orders in the given order, and reads each once it is locked. Each is looked up by itself; a
-- join would lock in the order the planner chooses.
select 'work_order' as kind, row_to_json(hit)::text as row
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from work_orders w where w.work_order = wanted.work_order limit 1
    for no key update
) hit
