-- The claims of the work orders $1, at most $2.
select {claim}
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from barcode_claims b where b.work_order = wanted.work_order limit $2
) c
limit $2
