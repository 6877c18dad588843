-- Planning: the work orders.
--
-- The names of all tables and columns are part of the contract (section 10): reports read them,
-- only the service writes them, and they are only ever extended.
--
-- Columns of keys are compared by byte (collate "C"). With another collation, the next version of
-- the C library could corrupt a unique index of texts without an error.

-- What a column may hold is a domain, not a CHECK of the table. PostgreSQL reads and plans the
-- CHECKs of a table again for every statement: a third of the time of a write of one scan. A
-- session keeps what a domain asks for.
create domain pieces as bigint check (value between 0 and 1000000000000);
create domain work_order_barcode_policy as text check (value in ('once', 'repeatable'));
create domain work_order_hold as text check (value in ('paused', 'cancelled'));
create domain work_order_status as text
    check (value in ('pending', 'in_progress', 'completed', 'paused', 'cancelled'));

-- One row per work order. Every scan writes it. So no column that a scan changes has an index,
-- and half of each page is kept free: the new row stays in its page (HOT).
create table work_orders (
    work_order          text collate "C" primary key,
    planned_quantity    pieces not null,
    -- null: no limit
    over_plan_allowance pieces,
    barcode_policy      work_order_barcode_policy not null,
    -- a regular expression; a scan whose barcode does not match it is refused; null: any barcode
    barcode_pattern     text,
    product_code        text,
    product_name        text,
    line                text,
    -- a person's hold, and the reason for which it was set or lifted
    hold                work_order_hold,
    hold_reason         text,
    -- since when it is held without a break; a scan that was made before is late
    held_since          timestamptz(3),
    -- whether the hold also refuses late scans
    strict              boolean not null default false,
    -- computed from hold, quantities and plan at each write
    status              work_order_status not null,
    input_quantity      pieces not null,
    output_quantity     pieces not null,
    scrap_quantity      pieces not null,
    -- how many updates were counted
    seq                 bigint not null,
    -- the highest fence under which the row was written, and the owner of that lease
    fence               bigint not null,
    fence_owner         text collate "C",
    -- random, new with every write; the guarded write compares it
    stamp               bigint not null,
    -- random, new with every PUT and PATCH: the ETag
    revision            bigint not null,
    -- whether a barcode was ever counted; from then on the policy can't change
    barcode_counted     boolean not null,
    created_at          timestamptz(3) not null,
    updated_at          timestamptz(3) not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
