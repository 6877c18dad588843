-- Deletes finished checks except the newest ?1 and the last good one of each scheduled range.
delete from consistency_checks
where state in ('good', 'drift', 'failed')
    and check_id not in (
        select n.check_id from consistency_checks as n order by n.requested_at desc, n.check_id desc limit ?1)
    and check_id is not (
        select g.check_id from consistency_checks as g
        where g.state = 'good' and g.range = 'recent' order by g.started_at desc limit 1)
    and check_id is not (
        select g.check_id from consistency_checks as g
        where g.state = 'good' and g.range = 'full' order by g.started_at desc limit 1)
