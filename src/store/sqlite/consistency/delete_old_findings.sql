-- Deletes resolved findings except the ?1 that were resolved last.
delete from consistency_findings
where state = 'resolved'
    and finding_id not in (
        select n.finding_id from consistency_findings as n where n.state = 'resolved'
        order by n.resolved_at desc, n.finding_id desc limit ?1)
