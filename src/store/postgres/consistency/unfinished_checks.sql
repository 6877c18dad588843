-- The checks that are not finished, in the order of their requests.
select row_to_json(c)::text
from consistency_checks c
where c.state in ('waiting', 'running')
order by c.requested_at, c.check_id
