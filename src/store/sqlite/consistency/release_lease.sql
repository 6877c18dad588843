-- Releases the lease of ?1.
update check_lease
set holder = null
where lease = 1 and holder = ?1
