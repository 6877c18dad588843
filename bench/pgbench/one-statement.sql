-- The same as interactive.sql in one statement and one round trip: the fairest rival.
\set number random(1, :work_orders)
\set unique random(1, 1000000000000000)
\set stamp random(1, 1000000000000000)
with counted as (
    update work_orders
    set input_quantity = input_quantity + 1, seq = seq + 1, status = 'in_progress', stamp = :stamp, updated_at = now()
    where work_order = 'W' || :number
    returning work_order, seq, input_quantity, planned_quantity)
insert into update_log (
    request_id, work_order, seq, counter, action, quantity, delta, before, after, step, step_canonical, station, terminal,
    operator, fence, work_order_status, remaining, recorded_at, recorded_by, outcome, rendering)
select now()::text || :unique, work_order, seq, 'input', 'scan', 1, 1, input_quantity - 1, input_quantity, 'P010', 'P010', 'L3-T2', 't7',
    'E1024', 0, 'in_progress', planned_quantity - input_quantity, now(), 'pgbench', 'counted', 1
from counted;
