-- The claims of the work orders ?1, at most ?2.
select {claim}
from json_each(?1) as wanted cross join barcode_claims as c on c.work_order = wanted.value
limit ?2
