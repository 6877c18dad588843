-- The work order ?1.
select {work_order} from work_orders as w where w.work_order = ?1
