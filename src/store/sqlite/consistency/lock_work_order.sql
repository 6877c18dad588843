-- The row of the work order ?1. The transaction of the one writer is the lock.
select {work_order}
from work_orders as w
where w.work_order = ?1
