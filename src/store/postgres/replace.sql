-- Quantities, seq and fence are left alone: planning does not own them.
update work_orders
set planned_quantity = $2, over_plan_allowance = $3, barcode_policy = $4, product_code = $5, product_name = $6,
    line = $7, hold = $8, hold_reason = $9, status = $10, stamp = $11, revision = $12, updated_at = $13
where work_order = $1
