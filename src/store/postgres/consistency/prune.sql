-- Drops what is beyond the bound: the oldest reports, but never the last good one of a
-- range, and the findings that were settled longest ago.
with kept as (
    (select check_id from consistency_checks order by requested_at desc, check_id desc limit $1)
    union
    (select distinct on (range) check_id from consistency_checks
     where state = 'good' and range in ('recent', 'full') order by range, started_at desc)
), pruned as (
    delete from consistency_checks c
    where c.state in ('good', 'drift', 'failed') and not exists (select 1 from kept where kept.check_id = c.check_id)
)
delete from consistency_findings f
where f.state = 'resolved' and f.finding_id not in (
    select k.finding_id from consistency_findings k where k.state = 'resolved'
    order by k.resolved_at desc, k.finding_id desc limit $1)
