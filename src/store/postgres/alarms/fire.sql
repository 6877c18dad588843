-- Adds the alarms $1. One that is open already is not added, which the caller sees by the count.
insert into alarms (alarm_id, kind, key, cause, since, fired_at, recurrences)
select v ->> 'alarm_id', v ->> 'kind', v ->> 'key', (v -> 'cause')::jsonb, (v ->> 'since')::timestamptz,
       (v ->> 'fired_at')::timestamptz, (v ->> 'recurrences')::bigint
from json_array_elements($1::json) v
on conflict do nothing
