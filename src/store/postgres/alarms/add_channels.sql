-- Adds the channels of the messages $1 that have no row yet.
insert into alarm_channels (channel)
select distinct v ->> 'channel' from json_array_elements($1::json) v order by 1
on conflict do nothing
