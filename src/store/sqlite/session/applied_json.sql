-- The applied migrations, each as a JSON text.
select json_quote(version) from _sqlx_migrations where success
