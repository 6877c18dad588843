-- Resolves the findings of the work orders $2, read since $3, that the check $1 has not seen.
update consistency_findings
set state = 'resolved', resolved_at = clock_timestamp()
where state <> 'resolved' and work_order = any ($2) and last_check_id <> $1 and seen_at < $3
