-- Whether migrations were applied.
select exists (select 1 from sqlite_schema where name = '_sqlx_migrations')
