-- A page of findings, newest first: in state $1, of the work order $2, last seen by the check $3,
-- older than ($4, $5); at most $6.
select row_to_json(f)::text
from consistency_findings f
where ($1::text is null or f.state = $1)
  and ($2::text is null or f.work_order = $2)
  and ($3::text is null or f.last_check_id = $3)
  and ($4::timestamptz is null or (f.found_at, f.finding_id) < ($4, $5::text))
order by f.found_at desc, f.finding_id desc
limit $6
