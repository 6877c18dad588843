-- Planning's change of a work order, under its row lock. Quantities, seq and fence are not
-- planning's: they stay.
update work_orders
set planned_quantity = {planned_quantity}, over_plan_allowance = {over_plan_allowance},
    barcode_policy = {barcode_policy}, barcode_pattern = {barcode_pattern}, product_code = {product_code},
    product_name = {product_name}, line = {line},
    hold = {hold}, hold_reason = {hold_reason}, held_since = {held_since}, strict = {strict}, status = {status},
    stamp = {stamp}, revision = {revision}, updated_at = {updated_at}
where work_order = {work_order}
