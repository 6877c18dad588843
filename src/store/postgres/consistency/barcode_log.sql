-- The counted rows of the barcodes $2 of the work order $1, of any counter and step. The inner
-- limit $3 makes the planner use the index of barcodes.
select {log_row}, '' as recorded_at
from unnest($2::text[]) as wanted(barcode)
cross join lateral (
    select * from update_log u
    where u.barcode_canonical = wanted.barcode and u.work_order = $1 and u.seq is not null
    order by u.recorded_at limit $3
) l
limit $3
