-- Writes the sightings $2 of $1, seen at $3.
insert into alarm_sightings (kind, key, holder, cause, since, seen_at)
select v ->> 'kind', v ->> 'key', $1, (v -> 'cause')::jsonb, (v ->> 'since')::timestamptz, $3
from json_array_elements($2::json) v
on conflict (kind, key, holder) do update
set cause = excluded.cause, since = excluded.since, seen_at = excluded.seen_at
