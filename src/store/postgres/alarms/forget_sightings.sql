-- Deletes the sightings of $1 that are not in $2.
delete from alarm_sightings s
where s.holder = $1
  and not exists (
    select 1 from json_array_elements($2::json) v where v ->> 'kind' = s.kind and v ->> 'key' = s.key)
