-- The tables of counting. Their names are part of the contract (section 10):
-- reports read them; nobody but the service writes them; they are only ever extended.
--
-- The same tables as on PostgreSQL, name by name. Text is compared by byte (SQLite's
-- default); times are RFC 3339 texts in UTC with milliseconds, so they sort as times do.

-- One row per work order. Every scan rewrites it, so nothing that a scan changes is indexed.
create table work_orders (
    work_order          text primary key not null,
    planned_quantity    integer not null check (planned_quantity between 0 and 1000000000000),
    -- null: no limit
    over_plan_allowance integer check (over_plan_allowance between 0 and 1000000000000),
    barcode_policy      text not null check (barcode_policy in ('once', 'repeatable')),
    product_code        text,
    product_name        text,
    line                text,
    -- a person's hold, and why it was set or lifted
    hold                text check (hold in ('paused', 'cancelled')),
    hold_reason         text,
    -- the one status function, as of the last write
    status              text not null check (status in ('pending', 'in_progress', 'completed', 'paused', 'cancelled')),
    input_quantity      integer not null check (input_quantity between 0 and 1000000000000),
    output_quantity     integer not null check (output_quantity between 0 and 1000000000000),
    scrap_quantity      integer not null check (scrap_quantity between 0 and 1000000000000),
    -- number of counted updates
    seq                 integer not null,
    -- the highest fence that wrote, and who wrote under it
    fence               integer not null,
    fence_owner         text,
    -- random, fresh with every write: what the guarded write compares
    stamp               integer not null,
    -- random, fresh with every PUT and PATCH: the ETag
    revision            integer not null,
    -- whether a barcode was ever counted: the policy is fixed from then on
    barcode_counted     integer not null check (barcode_counted in (0, 1)),
    created_at          text not null,
    updated_at          text not null
) strict, without rowid;

-- One row per decided request, counted or refused; never changed, never deleted.
-- No foreign key to work_orders, as on PostgreSQL.
create table update_log (
    request_id          text primary key not null,
    work_order          text not null,
    -- 1..n without gaps among the counted updates of a work order; null when refused
    seq                 integer,
    -- when refused: the seq that the work order stood at
    at_seq              integer,
    counter             text not null check (counter in ('input', 'output', 'scrap')),
    action              text not null check (action in ('scan', 'unbind', 'correction')),
    -- what was asked
    quantity            integer,
    asked_delta         integer,
    set_to              integer,
    expected            integer,
    -- what was done
    delta               integer not null,
    before              integer not null,
    after               integer not null,
    -- as sent, and as compared (NFKC without outer white space)
    barcode             text,
    barcode_canonical   text,
    step                text not null default '',
    step_canonical      text not null default '',
    station             text,
    terminal            text,
    operator            text,
    reason              text,
    note                text,
    fence               integer not null,
    work_order_status   text not null,
    remaining           integer not null,
    -- the terminal's clock, the server's clock, the caller
    scanned_at          text,
    recorded_at         text not null,
    recorded_by         text not null,
    outcome             text not null check (outcome in ('counted', 'refused')),
    code                text,
    -- the update that counted the barcode, where that is why this one was refused
    original_request_id text,
    -- how the 201 was rendered, so that it can be rendered the same for ever
    rendering           integer not null,
    constraint update_log_outcome check (
        (outcome = 'counted' and seq is not null and at_seq is null and code is null)
        or (outcome = 'refused' and seq is null and at_seq is not null and code is not null and delta = 0)),
    constraint update_log_work_order_seq_key unique (work_order, seq)
) strict;

-- the refused updates of a work order, in the order of its list
create index update_log_refused on update_log (work_order, at_seq, recorded_at, request_id) where seq is null;
-- the life of one part
create index update_log_barcode on update_log (barcode_canonical, recorded_at, request_id) where barcode_canonical is not null;

-- What stands counted: one row per standing count of a barcode. Where the policy is
-- `once` the ordinal is always 1, so that the primary key refuses a second count.
create table barcode_claims (
    work_order          text not null,
    counter             text not null,
    step                text not null default '',
    barcode             text not null,
    ordinal             integer not null,
    -- the update that counted it, and how many pieces
    request_id          text not null,
    quantity            integer not null,
    primary key (work_order, counter, step, barcode, ordinal)
) strict, without rowid;
