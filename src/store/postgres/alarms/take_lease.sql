-- Takes or renews the lease for $1 until $2, if it is free, expired at $3, or its own. A lease that
-- ends after $4 was written before the clock was set back: it counts as expired.
update watch_lease
set holder = $1, expires_at = $2
where lease = 1 and (holder is null or holder = $1 or expires_at <= $3 or expires_at > $4)
