-- All that is wrong and all alarms that are known, as one JSON object in one snapshot.
-- $1 sightings seen after this
-- $2 duplicates refused after this
-- $3 so many duplicates at one station are a burst
-- $4 alarms resolved after this
-- $5 most of one kind
-- $6 most duplicates that are counted
-- $7 findings found after this, open or not
select json_build_object(
    'sightings', coalesce((
        select json_agg(json_build_object('cause', s.cause, 'since', s.since))
        from (select * from alarm_sightings where seen_at > $1 order by since, kind, key, holder limit $5) s), '[]'),
    'drifting', coalesce((
        select json_agg(d)
        from (select f.work_order, f.findings, f.kind, f.counter, f.seq, f.expected, f.actual, f.found_at
              from (select o.*, count(*) over (partition by o.work_order) as findings,
                           row_number() over (partition by o.work_order order by o.found_at, o.finding_id) as place
                    from consistency_findings o where o.state = 'open' or o.found_at > $7) f
              where f.place = 1 order by f.found_at, f.work_order limit $5) d), '[]'),
    'checks', (
        select json_agg(c)
        from (select r.range,
                     -- a full check also reads what a recent one reads
                     (select max(g.finished_at) from consistency_checks g
                      where g.state in ('good', 'drift') and g.range in (r.range, 'full')) as last_read,
                     -- one check runs at a time, the others wait for it
                     (select max(g.advanced_at) from consistency_checks g where g.state = 'running') as last_advance,
                     case when l.state = 'failed' then l.finished_at end as failed_at,
                     case when l.state = 'failed' then l.error end as error
              from (values ('recent'), ('full')) r (range)
              left join lateral (
                  select g.state, g.finished_at, g.error from consistency_checks g
                  where g.range = r.range and g.finished_at is not null
                  order by g.finished_at desc limit 1) l on true) c),
    'bursts', coalesce((
        select json_agg(b)
        from (select d.station, count(*) as refused, min(d.recorded_at) as since, max(d.work_order) as work_order
              from (select coalesce(nullif(u.station, ''), nullif(u.terminal, ''), u.recorded_by) as station,
                           u.recorded_at, u.work_order
                    from update_log u
                    where u.code = 'barcode-already-counted' and u.recorded_at > $2
                    order by u.recorded_at desc limit $6) d
              group by d.station having count(*) >= $3
              order by d.station limit $5) b), '[]'),
    'alarms', coalesce((
        select json_agg(a)
        from (select alarm_id, cause, since, fired_at, clear_since, resolved_at, recurrences
              from alarms where resolved_at is null
              union all
              (select alarm_id, cause, since, fired_at, clear_since, resolved_at, recurrences
               from alarms where resolved_at > $4 order by resolved_at desc limit $5)) a), '[]')
)::text
