-- Resolves the open alarms $1.
update alarms a
set clear_since = (v ->> 'clear_since')::timestamptz, resolved_at = (v ->> 'resolved_at')::timestamptz
from json_array_elements($1::json) v
where a.alarm_id = v ->> 'alarm_id' and a.resolved_at is null
