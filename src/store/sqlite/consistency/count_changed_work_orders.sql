-- How many work orders were written at ?1 or later.
select json_quote(count(*)) from work_orders as w where w.updated_at >= ?1
