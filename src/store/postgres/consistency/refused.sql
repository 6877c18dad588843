-- The next $5 refused rows of the work order $1 after ($2, $3, $4), in the order of their index.
select {log_row}, to_char(l.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as recorded_at
from update_log l
{named}where l.work_order = $1 and l.seq is null
  and (l.at_seq, l.recorded_at, l.request_id) > ($2, $3::text::timestamptz, $4)
order by l.at_seq, l.recorded_at, l.request_id
limit $5
