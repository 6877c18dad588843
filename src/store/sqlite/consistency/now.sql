-- The time by the database's clock.
select json_quote({now})
