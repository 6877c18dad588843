-- The bare transaction, statement by statement as an application sends it. There is no
-- application, no HTTP and no lock. It writes the row that Scanfence writes, in Scanfence's
-- tables. Request ids ascend, as UUIDv7 does.
\set number random(1, :work_orders)
\set unique random(1, 1000000000000000)
\set stamp random(1, 1000000000000000)
begin;
select input_quantity, seq, planned_quantity from work_orders where work_order = 'W' || :number for update \gset
insert into update_log (
    request_id, work_order, seq, counter, action, quantity, delta, before, after, step, step_canonical, station, terminal,
    operator, fence, work_order_status, remaining, recorded_at, recorded_by, outcome, rendering)
values (now()::text || :unique, 'W' || :number, :seq + 1, 'input', 'scan', 1, 1, :input_quantity, :input_quantity + 1, 'P010', 'P010', 'L3-T2', 't7',
    'E1024', 0, 'in_progress', :planned_quantity::bigint - :input_quantity::bigint - 1, now(), 'pgbench', 'counted', 1);
update work_orders
set input_quantity = :input_quantity + 1, seq = :seq + 1, status = 'in_progress', stamp = :stamp, updated_at = now()
where work_order = 'W' || :number;
commit;
