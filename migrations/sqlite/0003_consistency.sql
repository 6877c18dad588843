-- Consistency: checks of the log against the quantities, and what they have found. These tables are
-- small and bounded, and no scan reads or writes them. They are the same as on PostgreSQL, with
-- texts for times and JSON values.

-- The lease for running checks: one replica or command has it at a time. There is one row. A process
-- takes the lease if it is free or expired by this machine's clock, and renews it while it checks.
create table check_lease (
    lease               integer primary key check (lease = 1),
    -- the process that has the lease; null: free
    holder              text,
    expires_at          text not null
) strict;
insert into check_lease (lease, holder, expires_at) values (1, null, '1970-01-01T00:00:00.000Z');

-- One row per check, from its request on. After the check, the row is its report.
create table consistency_checks (
    check_id            text primary key not null,
    range               text not null check (range in ('recent', 'full', 'work_order', 'since')),
    -- range `work_order`: which one
    work_order          text,
    -- ranges `recent` and `since`: work orders changed at this time or later
    since               text,
    state               text not null check (state in ('waiting', 'running', 'good', 'drift', 'failed')),
    -- the principal that asked for it, or `schedule`
    requested_by        text not null,
    requested_at        text not null,
    -- by the database's clock, before the first row is read. Rows that are written later belong to
    -- the next check.
    started_at          text,
    -- when the check last noted its progress
    advanced_at         text,
    finished_at         text,
    -- the last work order that was read completely; after a crash, the check goes on from here
    read_up_to          text,
    -- counted at the start; null before
    work_orders_total   integer,
    work_orders_read    integer not null default 0,
    rows_read           integer not null default 0,
    -- findings that this check has seen, new or known
    findings_seen       integer not null default 0,
    -- why it failed
    error               text
) strict;

-- One row per drift. If a later check sees an open finding again, it updates this row, for example
-- `last_check_id` and `seen_at`.
create table consistency_findings (
    finding_id          text primary key not null,
    first_check_id      text not null,
    last_check_id       text not null,
    work_order          text not null,
    kind                text not null,
    -- null: the whole work order
    counter             text check (counter in ('input', 'output', 'scrap')),
    -- the first wrong row of the log, if there is one
    seq                 integer,
    request_id          text,
    -- JSON values: a number, a word, or a list
    expected            text,
    actual              text,
    -- the rows that show the drift; if a person has to decide, also the proposed correction
    details             text not null,
    -- `repair`: can be repaired from the log; `decision`: a person has to decide
    remedy              text not null check (remedy in ('repair', 'decision')),
    -- `repaired`: by a repair, or accepted by a person; `resolved`: a later check has not seen it
    state               text not null check (state in ('open', 'repaired', 'resolved')),
    found_at            text not null,
    seen_at             text not null,
    repaired_at         text,
    resolved_at         text
) strict;
-- a finding is open at most once
create unique index consistency_findings_open on consistency_findings (work_order, kind, coalesce(counter, ''))
    where state = 'open';
