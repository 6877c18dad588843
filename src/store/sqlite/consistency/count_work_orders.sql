-- How many work orders there are.
select json_quote(count(*)) from work_orders
