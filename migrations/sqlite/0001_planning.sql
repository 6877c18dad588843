-- Planning: the work orders.
--
-- The names of all tables and columns are part of the contract (section 10): reports read them,
-- only the service writes them, and they are only ever extended.
--
-- The tables and columns are those of PostgreSQL. SQLite compares text by byte. Times are RFC 3339
-- texts in UTC with milliseconds, so their order as texts is their order in time.

-- One row per work order. Every scan writes it, so no column that a scan changes has an index.
create table work_orders (
    work_order          text primary key not null,
    planned_quantity    integer not null check (planned_quantity between 0 and 1000000000000),
    -- null: no limit
    over_plan_allowance integer check (over_plan_allowance between 0 and 1000000000000),
    barcode_policy      text not null check (barcode_policy in ('once', 'repeatable')),
    -- a regular expression; a scan whose barcode does not match it is refused; null: any barcode
    barcode_pattern     text,
    product_code        text,
    product_name        text,
    line                text,
    -- a person's hold, and the reason for which it was set or lifted
    hold                text check (hold in ('paused', 'cancelled')),
    hold_reason         text,
    -- since when it is held without a break; a scan that was made before is late
    held_since          text,
    -- whether the hold also refuses late scans
    strict              integer not null default 0 check (strict in (0, 1)),
    -- computed from hold, quantities and plan at each write
    status              text not null check (status in ('pending', 'in_progress', 'completed', 'paused', 'cancelled')),
    input_quantity      integer not null check (input_quantity between 0 and 1000000000000),
    output_quantity     integer not null check (output_quantity between 0 and 1000000000000),
    scrap_quantity      integer not null check (scrap_quantity between 0 and 1000000000000),
    -- how many updates were counted
    seq                 integer not null,
    -- the highest fence under which the row was written, and the owner of that lease
    fence               integer not null,
    fence_owner         text,
    -- random, new with every write; the guarded write compares it
    stamp               integer not null,
    -- random, new with every PUT and PATCH: the ETag
    revision            integer not null,
    -- whether a barcode was ever counted; from then on the policy can't change
    barcode_counted     integer not null check (barcode_counted in (0, 1)),
    created_at          text not null,
    updated_at          text not null
) strict, without rowid;
