-- Deletes alarms that were resolved before ?1, at most ?2.
delete from alarms
where alarm_id in (select alarm_id from alarms where resolved_at < ?1 order by resolved_at limit ?2)
