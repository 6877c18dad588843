-- Locks the channel $1 and returns its state.
select row_to_json(c)::text
from alarm_channels c
where c.channel = $1
for update
