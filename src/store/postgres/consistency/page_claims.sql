-- The claims of several work orders; they are compared with the logs, so nobody asks here
-- whether an update holds them.
select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity, true as held
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from barcode_claims b where b.work_order = wanted.work_order limit $2
) c
limit $2
