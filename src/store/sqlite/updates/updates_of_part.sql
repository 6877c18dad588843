-- As `updates.sql`, but only of the barcode ?11: found by the barcode's index, then sorted.
select {update} from update_log as u
where u.barcode_canonical = ?11 and +u.work_order = ?1
    and iif(u.seq is null, (u.at_seq, u.recorded_at, u.request_id) < (?3, ?4, ?5), u.seq < ?2)
    and (?7 is null or u.outcome = ?7)
    and (?6 is null or u.counter = ?6) and (?8 is null or u.recorded_at >= ?8)
    and (?9 is null or u.recorded_at < ?9)
order by coalesce(u.seq, u.at_seq) desc, u.seq is null desc, u.recorded_at desc, u.request_id desc limit ?10
