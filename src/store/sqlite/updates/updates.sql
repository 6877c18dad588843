-- A work order's updates, newest first. Each half is read down its own index.
-- ?1 the work order
-- ?2 counted updates below this seq
-- ?3, ?4, ?5 refused updates below this at_seq, recorded_at and request id
-- ?6 the counter, or null
-- ?7 the outcome, or null
-- ?8 recorded from, or null
-- ?9 recorded before, or null
-- ?10 most updates
select {update} from (
    select * from (select u.*, u.seq as place from update_log as u
        where u.work_order = ?1 and u.seq < ?2 and ?7 is not 'refused'
            and (?6 is null or u.counter = ?6) and (?8 is null or u.recorded_at >= ?8)
            and (?9 is null or u.recorded_at < ?9)
        order by u.seq desc limit ?10)
    union all
    select * from (select u.*, u.at_seq as place from update_log as u
        where u.work_order = ?1 and u.seq is null and (u.at_seq, u.recorded_at, u.request_id) < (?3, ?4, ?5)
            and ?7 is not 'counted'
            and (?6 is null or u.counter = ?6) and (?8 is null or u.recorded_at >= ?8)
            and (?9 is null or u.recorded_at < ?9)
        order by u.at_seq desc, u.recorded_at desc, u.request_id desc limit ?10)
) as u
order by u.place desc, u.seq is null desc, u.recorded_at desc, u.request_id desc limit ?10
