-- The claims of the work orders $1, at most $2. The check compares them with the whole logs, so
-- `held` is not looked up.
select {claim}, true as held
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from barcode_claims b where b.work_order = wanted.work_order limit $2
) c
limit $2
