-- A page of findings, newest first: in state ?1, of the work order ?2, last seen by the check ?3,
-- older than (?4, ?5); at most ?6.
select {finding}
from consistency_findings as f
where (?1 is null or f.state = ?1)
    and (?2 is null or f.work_order = ?2)
    and (?3 is null or f.last_check_id = ?3)
    and (?4 is null or (f.found_at, f.finding_id) < (?4, ?5))
order by f.found_at desc, f.finding_id desc
limit ?6
