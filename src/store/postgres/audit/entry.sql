-- The entry with the request id $1.
select row_to_json(a)::text
from audit_trail a
where a.request_id = $1
