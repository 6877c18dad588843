-- Updates of the barcode $1 older than ($2, $3), newest first; at most $4.
select row_to_json(l)::text from update_log l
where l.barcode_canonical = $1
  and ($2::timestamptz is null or (l.recorded_at, l.request_id) < ($2, $3))
order by l.recorded_at desc, l.request_id desc
limit $4
