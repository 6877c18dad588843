-- The counted rows of the barcodes $2 of the work order $1, of any counter and step, and its releases.
-- The inner limit $3 makes the planner use the index of barcodes.
select {log_row}, '' as recorded_at
from (
    select found.* from unnest($2::text[]) as wanted(barcode)
    cross join lateral (
        select * from update_log u
        where u.barcode_canonical = wanted.barcode and u.work_order = $1 and u.seq is not null
        order by u.recorded_at limit $3
    ) found
    union all
    select * from (
        select * from update_log u
        where u.work_order = $1 and u.barcodes = 'release' and u.seq is not null
        order by u.counter, u.seq limit $3
    ) releases
) l
{named}limit $3
