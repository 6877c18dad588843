-- Resolves all findings that the check $1 has not seen, if it has read everything.
update consistency_findings f
set state = 'resolved', resolved_at = clock_timestamp()
from consistency_checks c
where c.check_id = $1 and c.range = 'full' and c.state in ('good', 'drift')
  and f.state <> 'resolved' and f.last_check_id <> $1 and f.seen_at < c.started_at
