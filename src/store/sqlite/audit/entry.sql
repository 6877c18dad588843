-- The entry with the request id ?1.
select {entry}
from audit_trail as a
where a.request_id = ?1
