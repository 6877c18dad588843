-- The state of each channel, and how many messages wait for it.
select {channel_queue}
from (
    select c.*,
        (select count(*) from alarm_messages as m where m.channel = c.channel and m.settled_at is null) as waiting
    from alarm_channels as c
) as q
order by q.channel
