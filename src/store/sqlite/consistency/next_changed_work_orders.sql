-- Of the next ?2 work orders after ?1, those that were written at ?3 or later, and how far this
-- statement has read. `updated_at` has no index, because each scan would have to write it. So one
-- statement reads a bounded number of rows.
with read as materialized (
    select w.work_order, w.seq, w.updated_at
    from work_orders as w where w.work_order > ?1 order by w.work_order limit ?2
)
select 'found' as kind, read.work_order, read.seq as n from read where read.updated_at >= ?3
union all
select 'read', max(read.work_order), count(*) from read having count(*) > 0
