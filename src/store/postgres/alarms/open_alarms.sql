-- The $1 oldest open alarms.
select row_to_json(a)::text
from alarms a
where a.resolved_at is null
order by a.fired_at, a.alarm_id
limit $1
