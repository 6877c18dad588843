-- The work orders of the pgbench scripts, in Scanfence's own tables.
insert into work_orders (
    work_order, planned_quantity, barcode_policy, status, input_quantity, output_quantity, scrap_quantity, seq, fence, stamp,
    revision, barcode_counted, created_at, updated_at)
select 'W' || number, 1000000000, 'once', 'pending', 0, 0, 0, 0, 0, 0, 0, false, now(), now()
from generate_series(1, :work_orders) number;
