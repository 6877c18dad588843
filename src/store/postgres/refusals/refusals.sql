-- The refused scans that a person may settle, newest first: of the line $1, with the code $2, recorded at $3
-- or later, open or not ($4), older than ($5, $6); at most $7.
-- The first four conditions are those of the index `update_log_refusals`, and where to read in it.
where l.action = 'scan' and l.code in ('over-plan', 'work-order-not-open', 'barcode-mismatch')
  and l.recorded_at >= coalesce($3::timestamptz, '-infinity')
  and (l.recorded_at, l.request_id) < (coalesce($5::timestamptz, 'infinity'), coalesce($6::text, ''))
  and ($1::text is null or l.line = $1)
  and ($2::text is null or l.code = $2)
  and ($4::boolean is null or $4 = (settling.request_id is null and leaving.entry is null))
order by l.recorded_at desc, l.request_id desc
limit $7::bigint
