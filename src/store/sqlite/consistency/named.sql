-- What the row `l` of the log names: the scan `t` that it takes back, and the refused scan `s` that it
-- settles. They are looked up by request id, in few rows. What does not fit is as if it were not there.
left join update_log as t on t.request_id = l.takes_back and +t.work_order = l.work_order and +t.counter = l.counter
    and +t.step_canonical = l.step_canonical and +t.barcode_canonical is l.barcode_canonical
    and +t.action = 'scan' and +t.seq is not null
left join update_log as s on s.request_id = l.settles and +s.work_order = l.work_order and +s.counter = l.counter
    and +s.action = 'scan' and +s.code in ('over-plan', 'work-order-not-open', 'barcode-mismatch')
