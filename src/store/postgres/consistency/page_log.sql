-- The whole logs of several work orders, counted rows and refused ones. The limit is one
-- more than may be read, so that too much is noticed and never fetched.
select l.request_id, l.work_order, l.seq, l.at_seq, l.counter, l.action, l.quantity, l.delta, l.before, l.after,
       l.step_canonical as step, l.barcode_canonical as barcode, l.fence, '' as recorded_at
from unnest($1::text[]) as wanted(work_order)
cross join lateral (
    select * from update_log u where u.work_order = wanted.work_order order by u.seq limit $2
) l
limit $2
