-- What the row `l` of the log names: the scan `t` that it takes back, and the refused scan `s` that it
-- settles. They are looked up by request id, in few rows. What does not fit is as if it were not there.
left join lateral (
    select n.seq, n.delta from update_log n
    where n.request_id = l.takes_back and n.work_order = l.work_order and n.counter = l.counter
      and n.step_canonical = l.step_canonical and n.barcode_canonical is not distinct from l.barcode_canonical
      and n.action = 'scan' and n.seq is not null
    limit 1
) t on true
left join lateral (
    select n.request_id from update_log n
    where n.request_id = l.settles and n.work_order = l.work_order and n.counter = l.counter
      and n.action = 'scan' and n.code in ('over-plan', 'work-order-not-open', 'barcode-mismatch')
    limit 1
) s on true
