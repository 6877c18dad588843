-- Writes a whole row of a work order, whether it is there or not.
insert or replace into work_orders ({names})
select * from {rows} where column1 is not null
