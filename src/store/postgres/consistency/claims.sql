-- The next $6 claims of the work order $1 after ($2, $3, $4, $5). `held`: the log has a counted
-- scan of the same barcode and quantity; if a barcode counts once, no later row has unbound it.
-- The condition compares the place alone, never `… or $2 is null`, so that the index scan starts
-- at the place.
select {claim},
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
