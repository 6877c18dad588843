-- Drops at ?1 the waiting messages that were added before ?2, and those of each channel beyond its ?3
-- newest. Returns the channel of each.
update alarm_messages
set settled_at = ?1, outcome = 'dropped'
where settled_at is null
    and (created_at < ?2 or position <= (
        select n.position from alarm_messages as n
        where n.channel = alarm_messages.channel and n.settled_at is null
        order by n.position desc limit 1 offset ?3))
returning channel
