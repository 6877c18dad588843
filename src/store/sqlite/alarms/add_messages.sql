-- Adds the messages ?1 at ?2, in their order.
insert into alarm_messages (message_id, channel, notice, created_at)
select value ->> 'message_id', value ->> 'channel', value -> 'notice', ?2
from json_each(?1)
order by key
