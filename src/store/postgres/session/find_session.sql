-- Whether the server still has the session with pid $1 that began at $2.
select from pg_stat_activity where pid = $1 and extract(epoch from backend_start)::text = $2
