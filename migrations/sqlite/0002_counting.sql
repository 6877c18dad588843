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
    action              text not null check (action in ('scan', 'unbind', 'undo', 'correction')),
    -- what was asked
    quantity            integer,
    asked_delta         integer,
    set_to              integer,
    expected            integer,
    -- what a recount asked for the barcodes that stood counted: `keep` or `release`
    barcodes            text,
    -- the scan that an undo asked to take back
    undoes              text,
    -- whether a scan asked to count although hold, plan or pattern refuse it
    override            integer not null default 0 check (override in (0, 1)),
    -- the refused scan that an override asked to count
    settles             text,
    -- what was done
    delta               integer not null,
    before              integer not null,
    after               integer not null,
    -- the update that an undo or an unbind took back
    takes_back          text,
    -- whether a hold was passed over, because the scan was made before it was set
    late                integer not null default 0 check (late in (0, 1)),
    -- as sent, and in the canonical form that is compared; an undo has those of the scan that it names
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
-- An update is taken back once, and a refused scan is settled once.
create unique index update_log_takes_back on update_log (takes_back) where takes_back is not null;
create unique index update_log_settles on update_log (settles) where settles is not null and seq is not null;
-- the latest release of a counter
create index update_log_releases on update_log (work_order, counter, seq) where barcodes = 'release' and seq is not null;
-- the refused scans that a person may settle, newest first
create index update_log_refusals on update_log (recorded_at, request_id)
    where action = 'scan' and code in ('over-plan', 'work-order-not-open', 'barcode-mismatch');
-- the life of one part
create index update_log_barcode on update_log (barcode_canonical, recorded_at, request_id) where barcode_canonical is not null;
-- the refused duplicates by time, for the alarm `duplicate-burst`; it holds refused rows only
create index update_log_duplicates on update_log (recorded_at) where code = 'barcode-already-counted';

-- One row per standing count of a barcode. If the policy is `once`, the ordinal is always 1, so
-- the primary key refuses a second count. If it is `repeatable`, the ordinal is the seq of the update.
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
