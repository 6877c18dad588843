
select 'all_passed' as kind, '' as row from gate where gate.passed = cardinality($3::text[])
union all
select 'passed', passed.work_order from passed where (select gate.passed from gate) < cardinality($3::text[])
union all
select 'known', known.row from known
