-- Updates of the work order ?1, newest first: counted ones below seq ?2 and refused ones below
-- (?3, ?4, ?5), each read down its own index; with counter ?6, outcome ?7, recorded from ?8 to ?9; at
-- most ?10.
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
