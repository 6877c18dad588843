-- The applied migrations.
select version from _sqlx_migrations where success
