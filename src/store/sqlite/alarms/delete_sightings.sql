-- Deletes sightings that were last seen before ?1, at most ?2.
delete from alarm_sightings
where (kind, key, holder) in (select kind, key, holder from alarm_sightings where seen_at < ?1 limit ?2)
