-- The claims of the barcodes ($2, $3, $4) of the work order $1, at most $5.
select {claim}
from unnest($2::text[], $3::text[], $4::text[]) as wanted(counter, step, barcode)
cross join lateral (
    select * from barcode_claims b
    where b.work_order = $1 and b.counter = wanted.counter and b.step = wanted.step and b.barcode = wanted.barcode
    limit $5
) c
limit $5
