-- Which session this is, and whether its server is a standby.
select current_setting('server_version_num')::int,
       pg_backend_pid(),
       (select extract(epoch from backend_start)::text from pg_stat_activity where pid = pg_backend_pid()),
       pg_is_in_recovery(),
       -- Startup verified that it is on. If it was turned off since, sessions still keep the promise.
       set_config('synchronous_commit', case current_setting('synchronous_commit')
           when 'off' then 'on' else current_setting('synchronous_commit') end, false)
