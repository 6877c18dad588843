-- Drops at $1 the waiting messages that were added before $2, and those of each channel beyond its $3
-- newest. Returns the channel of each.
update alarm_messages m
set settled_at = $1, outcome = 'dropped'
where m.settled_at is null
  and (m.created_at < $2 or m.position <= (
    select n.position from alarm_messages n where n.channel = m.channel and n.settled_at is null
    order by n.position desc offset $3 limit 1))
returning m.channel
