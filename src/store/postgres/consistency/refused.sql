-- The next refused rows of one log, in the order of their index.
select l.request_id, l.work_order, l.seq, l.at_seq, l.counter, l.action, l.quantity, l.delta, l.before, l.after,
       l.step_canonical as step, l.barcode_canonical as barcode, l.fence,
       to_char(l.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as recorded_at
from update_log l
where l.work_order = $1 and l.seq is null
  and (l.at_seq, l.recorded_at, l.request_id) > ($2, $3::text::timestamptz, $4)
order by l.at_seq, l.recorded_at, l.request_id
limit $5
