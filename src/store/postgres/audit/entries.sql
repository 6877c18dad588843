-- The entries with the action $2 of the work orders $1, oldest first for each work order.
select row_to_json(hit)::text
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from audit_trail a where a.work_order = wanted.work_order and a.action = $2
    order by a.recorded_at
) hit
