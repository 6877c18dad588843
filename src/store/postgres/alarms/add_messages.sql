-- Adds the messages $1 at $2, in their order.
insert into alarm_messages (message_id, channel, notice, created_at)
select v ->> 'message_id', v ->> 'channel', (v -> 'notice')::jsonb, $2
from json_array_elements($1::json) with ordinality as l (v, place)
order by place
