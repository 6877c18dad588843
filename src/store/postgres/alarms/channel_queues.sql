-- The state of each channel, and how many messages wait for it.
select row_to_json(q)::text
from (
    select c.*,
           (select count(*) from alarm_messages m where m.channel = c.channel and m.settled_at is null) as waiting
    from alarm_channels c order by c.channel
) q
