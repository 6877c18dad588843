-- Adds ?2 failed attempts to the message ?1; settles it at ?3 with the outcome ?4, or leaves both null.
update alarm_messages
set attempts = attempts + ?2, settled_at = ?3, outcome = ?4
where position = ?1
