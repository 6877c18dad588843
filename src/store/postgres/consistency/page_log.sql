-- The whole logs of the work orders $1: counted and refused rows. The limit $2 is one more than a
-- page may have, so the caller sees that there are too many without reading all of them.
select {log_row}, '' as recorded_at
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from update_log u where u.work_order = wanted.work_order order by u.seq limit $2
) l
{named}limit $2
