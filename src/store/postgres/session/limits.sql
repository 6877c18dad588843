-- Sets the session's limits and plans, and says which session it is. $1 lock timeout, $2 idle in
-- transaction, $3 statement timeout, $4 plan cache mode, $5 whether scans and other joins may be
-- planned.
select current_setting('server_version_num')::int,
       pg_backend_pid(),
       (select extract(epoch from backend_start)::text from pg_stat_activity where pid = pg_backend_pid()),
       set_config('lock_timeout', $1, false),
       set_config('idle_in_transaction_session_timeout', $2, false),
       set_config('statement_timeout', $3, false),
       set_config('plan_cache_mode', $4, false),
       set_config('enable_seqscan', $5, false),
       set_config('enable_hashjoin', $5, false),
       set_config('enable_mergejoin', $5, false),
       -- Startup verified that it is on. If it was turned off since, sessions still keep the promise.
       set_config('synchronous_commit', case current_setting('synchronous_commit')
           when 'off' then 'on' else current_setting('synchronous_commit') end, false),
       set_config('jit', 'off', false),
       set_config('timezone', 'UTC', false),
       set_config('datestyle', 'ISO', false)
