-- The entries with the action ?2 of the work orders ?1, oldest first for each work order.
select {entry}
from json_each(?1) as wanted cross join audit_trail as a on a.work_order = wanted.value and a.action = ?2
order by wanted.key, a.recorded_at
