-- Takes or renews the lease for $1, for $2 seconds, if it is free, expired, or its own. A lease
-- that ends later than any lease can was written before the clock was set back: it counts as
-- expired.
update check_lease
set holder = $1, expires_at = clock_timestamp() + make_interval(secs => $2)
where lease = 1
  and (holder is null or holder = $1 or expires_at < clock_timestamp()
       or expires_at > clock_timestamp() + make_interval(secs => $2 + 60))
