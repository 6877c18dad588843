-- The rows of the work orders $1.
select row_to_json(hit)::text
from unnest($1::text[]) as wanted(work_order)
cross join lateral (select * from work_orders w where w.work_order = wanted.work_order limit 1) hit
