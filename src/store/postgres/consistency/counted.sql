-- The next $3 counted rows of the work order $1 after the seq $2.
select {log_row}, '' as recorded_at
from update_log l
{named}where l.work_order = $1 and l.seq > $2
order by l.seq
limit $3
