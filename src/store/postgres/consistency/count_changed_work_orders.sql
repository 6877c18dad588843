-- How many work orders were written at $1 or later.
select count(*) from work_orders w where w.updated_at >= $1
