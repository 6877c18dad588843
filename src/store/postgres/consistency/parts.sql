-- The counted rows of some barcodes of one work order. The limit has them looked up by the
-- barcode's own index.
select l.request_id, l.work_order, l.seq, l.at_seq, l.counter, l.action, l.quantity, l.delta, l.before, l.after,
       l.step_canonical as step, l.barcode_canonical as barcode, l.fence, '' as recorded_at
from unnest($2::text[]) as wanted(barcode)
cross join lateral (
    select * from update_log u
    where u.barcode_canonical = wanted.barcode and u.work_order = $1 and u.seq is not null
    order by u.recorded_at limit $3
) l
limit $3
