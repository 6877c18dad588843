-- The check ?1.
select {check}
from consistency_checks as c
where c.check_id = ?1
