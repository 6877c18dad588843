-- All that is wrong and all alarms that are known, as one JSON object in one snapshot.
-- ?1 sightings seen after this
-- ?2 duplicates refused after this
-- ?3 so many duplicates at one station are a burst
-- ?4 alarms resolved after this
-- ?5 most of one kind
-- ?6 most duplicates that are counted
-- ?7 findings found after this, open or not
select json_object(
    'sightings', json((
        select json_group_array(json_object('cause', json(s.cause), 'since', s.since))
        from (select * from alarm_sightings where seen_at > ?1 order by since, kind, key, holder limit ?5) as s)),
    'drifting', json((
        select json_group_array(json_object('work_order', d.work_order, 'findings', d.findings, 'kind', d.kind,
            'counter', d.counter, 'seq', d.seq, 'expected', json(d.expected), 'actual', json(d.actual),
            'found_at', d.found_at))
        from (select * from (
                select o.*, count(*) over (partition by o.work_order) as findings,
                    row_number() over (partition by o.work_order order by o.found_at, o.finding_id) as place
                from consistency_findings as o where o.state = 'open' or o.found_at > ?7)
            where place = 1 order by found_at, work_order limit ?5) as d)),
    'checks', json((
        select json_group_array(json_object('range', r.range,
            -- a full check also reads what a recent one reads
            'last_read', (select max(g.finished_at) from consistency_checks as g
                where g.state in ('good', 'drift') and g.range in (r.range, 'full')),
            -- one check runs at a time, the others wait for it
            'last_advance', (select max(g.advanced_at) from consistency_checks as g where g.state = 'running'),
            'failed_at', (select iif(g.state = 'failed', g.finished_at, null) from consistency_checks as g
                where g.range = r.range and g.finished_at is not null order by g.finished_at desc limit 1),
            'error', (select iif(g.state = 'failed', g.error, null) from consistency_checks as g
                where g.range = r.range and g.finished_at is not null order by g.finished_at desc limit 1)))
        from (select 'recent' as range union all select 'full') as r)),
    'bursts', json((
        select json_group_array(json_object('station', b.station, 'refused', b.refused, 'since', b.since,
            'work_order', b.work_order))
        from (select d.station, count(*) as refused, min(d.recorded_at) as since, max(d.work_order) as work_order
            from (select coalesce(nullif(u.station, ''), nullif(u.terminal, ''), u.recorded_by) as station,
                    u.recorded_at, u.work_order
                from update_log as u
                where u.code = 'barcode-already-counted' and u.recorded_at > ?2
                order by u.recorded_at desc limit ?6) as d
            group by d.station having count(*) >= ?3 order by d.station limit ?5) as b)),
    'alarms', json((
        select json_group_array({alarm})
        from (select * from alarms where resolved_at is null
            union all
            select * from (select * from alarms where resolved_at > ?4
                order by resolved_at desc limit ?5)) as a)))
