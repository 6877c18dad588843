-- The next ?6 claims of the work order ?1 after (?2, ?3, ?4, ?5).
select {claim}
from barcode_claims as c
where c.work_order = ?1 and (c.counter, c.step, c.barcode, c.ordinal) > (?2, ?3, ?4, ?5)
order by c.counter, c.step, c.barcode, c.ordinal
limit ?6
