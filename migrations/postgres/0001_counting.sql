-- The tables of counting. Their names are part of the contract (section 10):
-- reports read them; nobody but the service writes them; they are only ever extended.
--
-- Key columns are compared by byte (collate "C"): a C library's next collation
-- would silently corrupt a unique text index.

-- One row per work order. Every scan rewrites it, so nothing that a scan changes is
-- indexed, and pages are kept half empty: each update stays within its page (HOT).
create table work_orders (
    work_order          text collate "C" primary key,
    planned_quantity    bigint not null check (planned_quantity between 0 and 1000000000000),
    -- null: no limit
    over_plan_allowance bigint check (over_plan_allowance between 0 and 1000000000000),
    barcode_policy      text not null check (barcode_policy in ('once', 'repeatable')),
    product_code        text,
    product_name        text,
    line                text,
    -- a person's hold, and why it was set or lifted
    hold                text check (hold in ('paused', 'cancelled')),
    hold_reason         text,
    -- the one status function, as of the last write
    status              text not null check (status in ('pending', 'in_progress', 'completed', 'paused', 'cancelled')),
    input_quantity      bigint not null check (input_quantity between 0 and 1000000000000),
    output_quantity     bigint not null check (output_quantity between 0 and 1000000000000),
    scrap_quantity      bigint not null check (scrap_quantity between 0 and 1000000000000),
    -- number of counted updates
    seq                 bigint not null,
    -- the highest fence that wrote, and who wrote under it
    fence               bigint not null,
    fence_owner         text collate "C",
    -- random, fresh with every write: what the guarded write compares
    stamp               bigint not null,
    -- random, fresh with every PUT and PATCH: the ETag
    revision            bigint not null,
    -- whether a barcode was ever counted: the policy is fixed from then on
    barcode_counted     boolean not null,
    created_at          timestamptz(3) not null,
    updated_at          timestamptz(3) not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);

-- One row per decided request, counted or refused; never changed, never deleted.
-- No foreign key to work_orders: it would lock the hot row once more for every scan.
create table update_log (
    request_id          text collate "C" primary key,
    work_order          text collate "C" not null,
    -- 1..n without gaps among the counted updates of a work order; null when refused
    seq                 bigint,
    -- when refused: the seq that the work order stood at
    at_seq              bigint,
    counter             text not null check (counter in ('input', 'output', 'scrap')),
    action              text not null check (action in ('scan', 'unbind', 'correction')),
    -- what was asked
    quantity            bigint,
    asked_delta         bigint,
    set_to              bigint,
    expected            bigint,
    -- what was done
    delta               bigint not null,
    before              bigint not null,
    after               bigint not null,
    -- as sent, and as compared (NFKC without outer white space)
    barcode             text,
    barcode_canonical   text collate "C",
    step                text not null default '',
    step_canonical      text collate "C" not null default '',
    station             text,
    terminal            text,
    operator            text,
    reason              text,
    note                text,
    fence               bigint not null,
    work_order_status   text not null,
    remaining           bigint not null,
    -- the terminal's clock, the server's clock, the caller
    scanned_at          timestamptz(3),
    recorded_at         timestamptz(3) not null,
    recorded_by         text not null,
    outcome             text not null check (outcome in ('counted', 'refused')),
    code                text,
    -- the update that counted the barcode, where that is why this one was refused
    original_request_id text collate "C",
    -- how the 201 was rendered, so that it can be rendered the same for ever
    rendering           smallint not null,
    constraint update_log_outcome check (
        (outcome = 'counted' and seq is not null and at_seq is null and code is null)
        or (outcome = 'refused' and seq is null and at_seq is not null and code is not null and delta = 0)),
    constraint update_log_work_order_seq_key unique (work_order, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);

-- the refused updates of a work order, in the order of its list
create index update_log_refused on update_log (work_order, at_seq, recorded_at, request_id) where seq is null;
-- the life of one part
create index update_log_barcode on update_log (barcode_canonical, recorded_at, request_id) where barcode_canonical is not null;

-- What stands counted: one row per standing count of a barcode. Where the policy is
-- `once` the ordinal is always 1, so that the primary key refuses a second count.
create table barcode_claims (
    work_order          text collate "C" not null,
    counter             text collate "C" not null,
    step                text collate "C" not null default '',
    barcode             text collate "C" not null,
    ordinal             bigint not null,
    -- the update that counted it, and how many pieces
    request_id          text collate "C" not null,
    quantity            bigint not null,
    primary key (work_order, counter, step, barcode, ordinal)
);
