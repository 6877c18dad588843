-- Deletes finished checks except the newest $1 and the last good one of each scheduled range.
delete from consistency_checks c
where c.state in ('good', 'drift', 'failed')
  and not exists (
    select 1
    from (
        (select n.check_id from consistency_checks n order by n.requested_at desc, n.check_id desc limit $1)
        union
        (select distinct on (g.range) g.check_id from consistency_checks g
         where g.state = 'good' and g.range in ('recent', 'full') order by g.range, g.started_at desc)
    ) kept
    where kept.check_id = c.check_id)
