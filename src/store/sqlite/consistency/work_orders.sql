-- The rows of the work orders ?1.
select {work_order}
from json_each(?1) as wanted cross join work_orders as w on w.work_order = wanted.value
