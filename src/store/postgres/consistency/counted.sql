-- The next counted rows of one log.
select l.request_id, l.work_order, l.seq, l.at_seq, l.counter, l.action, l.quantity, l.delta, l.before, l.after,
       l.step_canonical as step, l.barcode_canonical as barcode, l.fence, '' as recorded_at
from update_log l
where l.work_order = $1 and l.seq > $2
order by l.seq
limit $3
