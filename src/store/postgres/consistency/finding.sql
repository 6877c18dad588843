-- The finding $1.
select row_to_json(f)::text
from consistency_findings f
where f.finding_id = $1
