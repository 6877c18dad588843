-- The claims of the work orders ?1, at most ?2. The check compares them with the whole logs, so
-- `held` is not looked up.
select {claim}, true as held
from json_each(?1) as wanted cross join barcode_claims as c on c.work_order = wanted.value
limit ?2
