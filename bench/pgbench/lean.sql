-- one-statement.sql with only the columns that counting once needs (lean-tables.sql). A program
-- without the other columns could reach this.
\set number random(1, :work_orders)
\set unique random(1, 1000000000000000)
with counted as (
    update work_orders set input_quantity = input_quantity + 1, seq = seq + 1, updated_at = now()
    where work_order = 'W' || :number
    returning work_order, seq, input_quantity)
insert into update_log (request_id, work_order, seq, counter, delta, before, after, step, terminal, operator)
select now()::text || :unique, work_order, seq, 'input', 1, input_quantity - 1, input_quantity, 'P010', 't7', 'E1024' from counted;
