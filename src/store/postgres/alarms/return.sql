-- Notes for the open alarms $1 that something is wrong again.
update alarms
set clear_since = null
where alarm_id = any ($1) and resolved_at is null and clear_since is not null
