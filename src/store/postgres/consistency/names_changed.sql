-- Of the next work orders those that were written since. There is no index on that (each
-- scan would have to maintain it), so a bounded number is looked at in one statement.
with looked as materialized (
    select w.work_order, w.seq, w.updated_at
    from work_orders w where w.work_order > $1 order by w.work_order limit $2
)
select 'found' as kind, looked.work_order, looked.seq as n from looked where looked.updated_at >= $3
union all
select 'looked', max(looked.work_order), count(*) from looked having count(*) > 0
