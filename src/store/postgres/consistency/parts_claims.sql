-- The claims of some barcodes of one work order, whatever counter and step.
select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity, true as held
from barcode_claims c
where c.work_order = $1 and c.barcode = any ($2::text[])
limit $3
