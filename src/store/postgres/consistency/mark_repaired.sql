-- Marks the finding $1 as repaired.
update consistency_findings
set state = 'repaired', repaired_at = clock_timestamp()
where finding_id = $1
