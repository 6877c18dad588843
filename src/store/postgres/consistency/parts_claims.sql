-- The claims of some barcodes of one work order.
select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity, true as held
from unnest($2::text[], $3::text[], $4::text[]) as wanted(counter, step, barcode)
cross join lateral (
    select * from barcode_claims b
    where b.work_order = $1 and b.counter = wanted.counter and b.step = wanted.step and b.barcode = wanted.barcode
    limit $5
) c
limit $5
