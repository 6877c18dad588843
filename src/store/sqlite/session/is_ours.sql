-- Whether the database is empty, or has migrations.
select not exists (select 1 from sqlite_schema)
    or exists (select 1 from sqlite_schema where name = '_sqlx_migrations')
