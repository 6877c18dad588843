-- Writes the state $2 of the channel $1.
update alarm_channels c
set claimed_by = v.claimed_by, claimed_until = v.claimed_until, paced_until = v.paced_until,
    failures = v.failures, failing_since = v.failing_since, next_attempt_at = v.next_attempt_at,
    last_error = v.last_error, last_delivered_at = v.last_delivered_at
from json_populate_record(null::alarm_channels, $2::json) v
where c.channel = $1
