-- Writes the sightings ?2 of ?1, seen at ?3. (Without `where true`, SQLite reads `on conflict` as the
-- condition of a join.)
insert into alarm_sightings (kind, key, holder, cause, since, seen_at)
select value ->> 'kind', value ->> 'key', ?1, value -> 'cause', value ->> 'since', ?3
from json_each(?2)
where true
on conflict (kind, key, holder) do update
set cause = excluded.cause, since = excluded.since, seen_at = excluded.seen_at
