-- Notes for the open alarms ?1 that nothing is wrong since ?2.
update alarms
set clear_since = ?2
where alarm_id in (select value from json_each(?1)) and resolved_at is null and clear_since is null
