-- The first message that waits for the channel $1.
select row_to_json(m)::text
from alarm_messages m
where m.channel = $1 and m.settled_at is null
order by m.position
limit 1
