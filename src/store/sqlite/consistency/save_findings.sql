-- Opens the new findings of ?2 and marks known ones as seen by the check ?1. A finding that was
-- repaired at ?3 or later stays repaired: its rows were read before the repair. (Without
-- `where true`, SQLite reads `on conflict` as the condition of a join.)
insert into consistency_findings (
    finding_id, first_check_id, last_check_id, work_order, kind, counter, seq, request_id, expected, actual,
    details, remedy, state, found_at, seen_at)
select d.value ->> 'finding_id', ?1, ?1, d.value ->> 'work_order', d.value ->> 'kind', d.value ->> 'counter',
    d.value ->> 'seq', d.value ->> 'request_id', json(d.value -> 'expected'), json(d.value -> 'actual'),
    json(d.value -> 'details'), d.value ->> 'remedy', 'open', {now}, {now}
from json_each(?2) as d
where true and not exists (
    select 1 from consistency_findings as r
    where r.work_order = d.value ->> 'work_order' and r.kind = d.value ->> 'kind'
        and r.counter is d.value ->> 'counter' and r.repaired_at >= ?3)
on conflict (work_order, kind, coalesce(counter, '')) where state = 'open'
do update set last_check_id = excluded.last_check_id, seq = excluded.seq, request_id = excluded.request_id,
    expected = excluded.expected, actual = excluded.actual, details = excluded.details, remedy = excluded.remedy,
    seen_at = excluded.seen_at
