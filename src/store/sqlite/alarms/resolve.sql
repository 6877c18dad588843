-- Resolves the open alarms ?1.
update alarms
set clear_since = v.value ->> 'clear_since', resolved_at = v.value ->> 'resolved_at'
from json_each(?1) as v
where alarms.alarm_id = v.value ->> 'alarm_id' and alarms.resolved_at is null
