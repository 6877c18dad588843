-- Renews the lease of $1 for $2 seconds, if $1 still has it.
update check_lease
set expires_at = clock_timestamp() + make_interval(secs => $2)
where lease = 1 and holder = $1
