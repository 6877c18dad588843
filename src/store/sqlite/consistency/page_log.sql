-- The whole logs of the work orders ?1: counted and refused rows. The limit ?2 is one more than a
-- page may have, so the caller sees that there are too many without reading all of them.
select {log_row}, l.recorded_at
from json_each(?1) as wanted cross join update_log as l on l.work_order = wanted.value
{named}limit ?2
