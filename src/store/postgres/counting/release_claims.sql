-- Frees all barcodes of the counters $2 of the work orders $1. Their rows are locked.
delete from barcode_claims c
using unnest($1::text[], $2::text[]) as released(work_order, counter)
where c.work_order = released.work_order and c.counter = released.counter
