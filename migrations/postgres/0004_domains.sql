-- The words and the range that columns may hold, as domains instead of CHECK constraints of
-- the tables: PostgreSQL reads and plans those anew for every statement, which was a third of
-- what the write of a lone scan took there, while a session keeps what a domain asks for.
-- Nothing is rewritten, nor checked again: every row was held to the same by the constraint
-- that goes. `update_log_outcome`, which compares columns, stays.
create domain work_order_barcode_policy as text;
create domain work_order_hold as text;
create domain work_order_status as text;
create domain pieces as bigint;
create domain update_counter as text;
create domain update_action as text;
create domain update_outcome as text;

alter table work_orders
    alter planned_quantity type pieces,
    alter over_plan_allowance type pieces,
    alter barcode_policy type work_order_barcode_policy,
    alter hold type work_order_hold,
    alter status type work_order_status,
    alter input_quantity type pieces,
    alter output_quantity type pieces,
    alter scrap_quantity type pieces;
alter table update_log
    alter counter type update_counter,
    alter action type update_action,
    alter outcome type update_outcome;

alter domain work_order_barcode_policy add check (value in ('once', 'repeatable')) not valid;
alter domain work_order_hold add check (value in ('paused', 'cancelled')) not valid;
alter domain work_order_status
    add check (value in ('pending', 'in_progress', 'completed', 'paused', 'cancelled')) not valid;
alter domain pieces add check (value between 0 and 1000000000000) not valid;
alter domain update_counter add check (value in ('input', 'output', 'scrap')) not valid;
alter domain update_action add check (value in ('scan', 'unbind', 'correction')) not valid;
alter domain update_outcome add check (value in ('counted', 'refused')) not valid;

alter table work_orders
    drop constraint work_orders_planned_quantity_check,
    drop constraint work_orders_over_plan_allowance_check,
    drop constraint work_orders_barcode_policy_check,
    drop constraint work_orders_hold_check,
    drop constraint work_orders_status_check,
    drop constraint work_orders_input_quantity_check,
    drop constraint work_orders_output_quantity_check,
    drop constraint work_orders_scrap_quantity_check;
alter table update_log
    drop constraint update_log_counter_check,
    drop constraint update_log_action_check,
    drop constraint update_log_outcome_check;
