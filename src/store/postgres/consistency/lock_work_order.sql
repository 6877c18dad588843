-- Locks the work order $1 and returns its row. Statements after this one read what is true under
-- the lock.
select row_to_json(hit)::text
from (select * from work_orders w where w.work_order = $1 for no key update) hit
