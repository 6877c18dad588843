-- Opens the new findings of $2 and marks known ones as seen by the check $1. A finding that was
-- repaired at $3 or later stays repaired: its rows were read before the repair.
insert into consistency_findings as f (
    finding_id, first_check_id, last_check_id, work_order, kind, counter, seq, request_id, expected, actual,
    details, remedy, state, found_at, seen_at)
select d.finding_id, $1, $1, d.work_order, d.kind, d.counter, d.seq, d.request_id, d.expected, d.actual,
       d.details, d.remedy, 'open', clock_timestamp(), clock_timestamp()
from jsonb_to_recordset($2::text::jsonb) as d(
    finding_id text, work_order text, kind text, counter text, seq bigint, request_id text, expected jsonb,
    actual jsonb, details jsonb, remedy text)
where not exists (
    select 1 from consistency_findings r
    where r.work_order = d.work_order and r.kind = d.kind and r.counter is not distinct from d.counter
      and r.repaired_at >= $3)
on conflict (work_order, kind, coalesce(counter, '')) where state = 'open'
do update set last_check_id = excluded.last_check_id, seq = excluded.seq, request_id = excluded.request_id,
    expected = excluded.expected, actual = excluded.actual, details = excluded.details, remedy = excluded.remedy,
    seen_at = excluded.seen_at
