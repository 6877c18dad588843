-- The counted rows of the barcodes ?2 of the work order ?1, of any counter and step, and its releases;
-- at most ?3.
select {log_row}, l.recorded_at
from (
    select u.* from (select distinct value ->> 'barcode' as barcode from jsonb_each(?2)) as wanted
    cross join update_log as u on u.barcode_canonical = wanted.barcode and +u.work_order = ?1 and u.seq is not null
    union all
    select u.* from update_log as u where u.work_order = ?1 and u.barcodes = 'release' and u.seq is not null
) as l
{named}limit ?3
