-- The check $1.
select row_to_json(c)::text
from consistency_checks c
where c.check_id = $1
