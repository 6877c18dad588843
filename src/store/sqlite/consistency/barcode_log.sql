-- The counted rows of the barcodes ?2 of the work order ?1, of any counter and step; at most ?3.
select {log_row}, l.recorded_at
from (select distinct value ->> 'barcode' as barcode from jsonb_each(?2)) as wanted
cross join update_log as l on l.barcode_canonical = wanted.barcode and +l.work_order = ?1 and l.seq is not null
limit ?3
