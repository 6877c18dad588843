
select case when gate.all_passed then 'all_passed' else 'passed' end as kind,
       case when gate.all_passed then ''
            else (select coalesce(json_agg(passed.work_order), '[]')::text from passed) end as row
from gate
