-- The last seq in the log of the work order $1.
select coalesce(max(l.seq), 0) from update_log l where l.work_order = $1
