-- Whether the server takes writes, has the migrations $1, and waits for a standby.
select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off',
       (select count(*) from _sqlx_migrations where success and version = any ($1)) = cardinality($1),
       -- with `local` a commit does not wait for the standby, with `remote_write` not for its disk
       current_setting('synchronous_standby_names') <> ''
           and current_setting('synchronous_commit') in ('on', 'remote_apply')
