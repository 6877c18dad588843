-- Counting: the update log, and the barcodes that stand counted.

-- One row per decided request, counted or refused. A row is never changed and never deleted.
-- There is no foreign key to work_orders, as on PostgreSQL.
create table update_log (
    request_id          text primary key not null,
    work_order          text not null,
    -- 1..n without gaps over the counted updates of a work order; null when refused
    seq                 integer,
    -- when refused: the work order's seq at that moment
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
    -- as sent, and in the canonical form that is compared
    barcode             text,
    barcode_canonical   text,
    step                text not null default '',
    step_canonical      text not null default '',
    station             text,
    terminal            text,
    operator            text,
    reason              text,
    note                text,
    -- the work order's line and product when the request was decided
    line                text,
    product_code        text,
    fence               integer not null,
    work_order_status   text not null,
    remaining           integer not null,
    -- by the terminal's clock, by the server's clock, the caller's principal
    scanned_at          text,
    recorded_at         text not null,
    recorded_by         text not null,
    outcome             text not null check (outcome in ('counted', 'refused')),
    code                text,
    -- if refused because the barcode is counted: the update that counted it
    original_request_id text,
    -- the number of the 201's rendering, so that a repeat gets the same bytes
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
-- the refused duplicates by time, for the alarm `duplicate-burst`; it holds refused rows only
create index update_log_duplicates on update_log (recorded_at) where code = 'barcode-already-counted';

-- One row per standing count of a barcode. If the policy is `once`, the ordinal is always 1, so
-- the primary key refuses a second count.
create table barcode_claims (
    work_order          text not null,
    counter             text not null,
    step                text not null default '',
    barcode             text not null,
    ordinal             integer not null,
    -- the update that counted it, and its pieces
    request_id          text not null,
    quantity            integer not null,
    primary key (work_order, counter, step, barcode, ordinal)
) strict, without rowid;
