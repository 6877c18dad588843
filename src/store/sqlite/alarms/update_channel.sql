-- Writes the state ?2 of the channel ?1.
update alarm_channels
set claimed_by = ?2 ->> 'claimed_by', claimed_until = ?2 ->> 'claimed_until', paced_until = ?2 ->> 'paced_until',
    failures = ?2 ->> 'failures', failing_since = ?2 ->> 'failing_since', next_attempt_at = ?2 ->> 'next_attempt_at',
    last_error = ?2 ->> 'last_error', last_delivered_at = ?2 ->> 'last_delivered_at'
where channel = ?1
