-- Renews the lease of ?1 for ?2, if ?1 still has it.
update check_lease
set expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?2)
where lease = 1 and holder = ?1
