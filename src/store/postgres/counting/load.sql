-- What the store knows about a batch, in one query and so from one snapshot. Each look-up is a lateral
-- probe with a limit. The planner can't turn that into a scan of the log as it grows.
select 'work_order' as kind, row_to_json(hit)::text as row
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from work_orders w where w.work_order = wanted.work_order limit 1
) hit
union all
select 'update', row_to_json(hit)::text
from unnest($2::text[]) as wanted(request_id)
cross join lateral (
    select * from update_log l where l.request_id = wanted.request_id limit 1
) hit
union all
select 'claim', row_to_json(hit)::text
from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
    as wanted(work_order, counter, step, barcode, depth)
cross join lateral (
    select * from barcode_claims c
    where c.work_order = wanted.work_order and c.counter = wanted.counter
      and c.step = wanted.step and c.barcode = wanted.barcode
    order by c.ordinal desc
    limit wanted.depth
) hit
