-- Adds the alarms ?1. One that is open already is not added, which the caller sees by the count.
insert into alarms (alarm_id, kind, key, cause, since, fired_at, recurrences)
select value ->> 'alarm_id', value ->> 'kind', value ->> 'key', value -> 'cause', value ->> 'since',
    value ->> 'fired_at', value ->> 'recurrences'
from json_each(?1)
where true
on conflict do nothing
