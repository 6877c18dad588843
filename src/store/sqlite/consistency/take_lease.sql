-- Takes or renews the lease for ?1, for ?2 (as in '+10.0 seconds'), if it is free, expired, or its
-- own. A lease that ends later than any lease can was written before the clock was set back: it
-- counts as expired.
update check_lease
set holder = ?1, expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?2)
where lease = 1
    and (holder is null or holder = ?1 or expires_at < {now}
        or expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?2, '+60 seconds'))
