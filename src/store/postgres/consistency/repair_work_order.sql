-- Writes what a repair may change of the work order $1. The stamp is new, as with every write.
update work_orders
set status = $2, input_quantity = $3, output_quantity = $4, scrap_quantity = $5, seq = $6, barcode_counted = $7,
    stamp = $8, updated_at = $9, fence = $10, fence_owner = $11
where work_order = $1
