-- Deletes messages that were settled before $1, at most $2.
delete from alarm_messages
where position in (select position from alarm_messages where settled_at < $1 order by settled_at limit $2)
