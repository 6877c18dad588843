select 'passed' as kind, passed.work_order as row from passed
union all
select 'known', known.row from known
