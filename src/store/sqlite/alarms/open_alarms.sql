-- The ?1 oldest open alarms.
select {alarm}
from alarms as a
where a.resolved_at is null
order by a.fired_at, a.alarm_id
limit ?1
