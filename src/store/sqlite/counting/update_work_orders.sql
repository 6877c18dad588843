-- Updates the work orders whose row still has the loaded stamp and whose fence is allowed: a newer
-- one, or the same one of the same owner. Gives the numbers of those that it has updated.
-- `or rollback`: a conflict fails the whole batch, so SQLite need not keep a journal to undo this
-- statement alone.
update or rollback work_orders as w set
    status = next.status, input_quantity = next.input_quantity, output_quantity = next.output_quantity,
    scrap_quantity = next.scrap_quantity, seq = next.seq, fence = next.fence, fence_owner = next.fence_owner,
    stamp = next.stamp, barcode_counted = next.barcode_counted, updated_at = next.updated_at
from (select {named} from {rows}) as next
where w.work_order = next.work_order and w.stamp = next.loaded
    and (w.fence < next.fence or (w.fence = next.fence
        and (w.fence_owner is null or w.fence_owner = next.fence_owner)))
returning work_order
