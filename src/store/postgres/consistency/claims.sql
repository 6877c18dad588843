-- The next claims of one work order, each with whether a counted scan of the same barcode
-- holds it: where a barcode counts once, one that was not unbound since. The place is compared alone, never as `… or $2 is null`, so that the walk begins
-- there in the index.
select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity,
       (select true from update_log l
        where l.request_id = c.request_id and l.work_order = c.work_order and l.counter = c.counter
          and l.step_canonical = c.step and l.barcode_canonical = c.barcode and l.quantity = c.quantity
          and l.seq is not null and l.action = 'scan'
          and ((select w.barcode_policy from work_orders w where w.work_order = $1) <> 'once'
               or not exists (
                   select 1 from update_log u
                   where u.barcode_canonical = c.barcode and u.work_order = c.work_order and u.counter = c.counter
                     and u.step_canonical = c.step and u.action = 'unbind' and u.seq > l.seq))
        limit 1) is not null as held
from barcode_claims c
where c.work_order = $1 and (c.counter, c.step, c.barcode, c.ordinal) > ($2, $3, $4, $5)
order by c.counter, c.step, c.barcode, c.ordinal
limit $6
