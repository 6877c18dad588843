-- Adds a waiting check, unless ?6 checks are not finished.
insert into consistency_checks (check_id, range, work_order, since, state, requested_by, requested_at)
select ?1, ?2, ?3, ?4, 'waiting', ?5, {now}
where (select count(*) from consistency_checks where state in ('waiting', 'running')) < ?6
