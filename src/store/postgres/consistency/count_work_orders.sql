-- How many work orders there are.
select count(*) from work_orders
