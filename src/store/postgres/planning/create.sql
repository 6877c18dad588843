-- A new work order.
insert into work_orders ({columns})
values ({parameters})
