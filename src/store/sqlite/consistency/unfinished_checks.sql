-- The checks that are not finished, in the order of their requests.
select {check}
from consistency_checks as c
where c.state in ('waiting', 'running')
order by c.requested_at, c.check_id
