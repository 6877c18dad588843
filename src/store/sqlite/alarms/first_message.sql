-- The first message that waits for the channel ?1.
select {message}
from alarm_messages as m
where m.channel = ?1 and m.settled_at is null
order by m.position
limit 1
