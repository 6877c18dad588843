-- The bare transaction, statement by statement as an application sends it, but with
-- no application, no HTTP and no lock. Request ids ascend, as UUIDv7 does.
\set number random(1, :work_orders)
\set unique random(1, 1000000000000000)
begin;
select input_quantity, seq from work_orders where work_order = 'W' || :number for update \gset
insert into update_log (request_id, work_order, seq, counter, delta, before, after, step, terminal, operator)
values (now()::text || :unique, 'W' || :number, :seq + 1, 'input', 1, :input_quantity, :input_quantity + 1, 'P010', 't7', 'E1024');
update work_orders set input_quantity = :input_quantity + 1, seq = :seq + 1, updated_at = now() where work_order = 'W' || :number;
commit;
