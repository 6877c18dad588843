-- Adds to the check $1 what it has read since its last note.
update consistency_checks
set advanced_at = clock_timestamp(), read_up_to = coalesce($2, read_up_to),
    work_orders_read = work_orders_read + $3, rows_read = rows_read + $4, findings_seen = findings_seen + $5
where check_id = $1
