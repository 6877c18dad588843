-- Whether the server is a standby, and whether migrations were applied here at any time.
select pg_is_in_recovery(), to_regclass('_sqlx_migrations') is not null
