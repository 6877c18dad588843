-- The next $6 claims of the work order $1 after ($2, $3, $4, $5). The condition compares the place
-- alone, never `… or $2 is null`, so that the index scan starts at the place.
select {claim}
from barcode_claims c
where c.work_order = $1 and (c.counter, c.step, c.barcode, c.ordinal) > ($2, $3, $4, $5)
order by c.counter, c.step, c.barcode, c.ordinal
limit $6
