union all
select 'known', known.row from known
