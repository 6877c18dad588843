-- Ends the check ?1 in state ?2, with the error ?3.
update consistency_checks
set state = ?2, error = ?3, finished_at = {now}
where check_id = ?1 and state in ('waiting', 'running')
