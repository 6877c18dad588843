insert into work_orders (
    work_order, planned_quantity, over_plan_allowance, barcode_policy, product_code, product_name, line,
    hold, hold_reason, status, input_quantity, output_quantity, scrap_quantity, seq, fence, fence_owner,
    stamp, revision, barcode_counted, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, 0, 0, null, $11, $12, false, $13, $13)
