-- Deletes the sightings of ?1 that are not in ?2.
delete from alarm_sightings
where holder = ?1 and (kind, key) not in (select value ->> 'kind', value ->> 'key' from json_each(?2))
