-- The refused scans that a person may settle, newest first: of the line ?1, with the code ?2, recorded at ?3
-- or later, open or not (?4), older than (?5, ?6); at most ?7.
-- The first four conditions are those of the index `update_log_refusals`, and where to read in it.
where u.action = 'scan' and u.code in ('over-plan', 'work-order-not-open', 'barcode-mismatch')
    and u.recorded_at >= ?3 and (u.recorded_at, u.request_id) < (?5, ?6)
    and (?1 is null or u.line = ?1)
    and (?2 is null or u.code = ?2)
    and (?4 is null or ?4 = (not exists (
            select 1 from update_log as s where s.settles = u.request_id and s.seq is not null)
        and not exists (select 1 from audit_trail as a where a.refusal = u.request_id)))
order by u.recorded_at desc, u.request_id desc limit ?7
