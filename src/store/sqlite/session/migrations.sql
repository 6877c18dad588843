-- The applied migrations.
select json_quote(version) from _sqlx_migrations where success
