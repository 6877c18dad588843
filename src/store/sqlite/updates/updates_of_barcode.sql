-- Updates of the barcode ?1 older than (?2, ?3), newest first; at most ?4.
select {update} from update_log as u
where u.barcode_canonical = ?1 and (u.recorded_at, u.request_id) < (?2, ?3)
order by u.recorded_at desc, u.request_id desc limit ?4
