-- Claims that another update now holds.
update barcode_claims as c set request_id = next.request_id, quantity = next.quantity
from (select {named} from {rows}) as next
where c.work_order = next.work_order and c.counter = next.counter and c.step = next.step
    and c.barcode = next.barcode and c.ordinal = next.ordinal
