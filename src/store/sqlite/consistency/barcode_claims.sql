-- The claims of the barcodes ?2 of the work order ?1, at most ?3.
select {claim}
from jsonb_each(?2) as wanted
cross join barcode_claims as c on c.work_order = ?1 and c.counter = wanted.value ->> 'counter'
    and c.step = wanted.value ->> 'step' and c.barcode = wanted.value ->> 'barcode'
limit ?3
