-- Adds the channels of the messages ?1 that have no row yet.
insert into alarm_channels (channel)
select distinct value ->> 'channel' from json_each(?1) where true
on conflict do nothing
