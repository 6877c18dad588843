-- Consistency: checks of the log against the quantities, and what they have found. These tables are
-- small and bounded, and no scan reads or writes them.

-- The lease for running checks: one replica or command has it at a time. There is one row. A process
-- takes the lease if it is free or expired by this server's clock, and renews it while it checks.
create table check_lease (
    lease               smallint primary key check (lease = 1),
    -- the process that has the lease; null: free
    holder              text collate "C",
    expires_at          timestamptz(3) not null
);
insert into check_lease (lease, holder, expires_at) values (1, null, 'epoch');

-- One row per check, from its request on. After the check, the row is its report.
create table consistency_checks (
    check_id            text collate "C" primary key,
    range               text not null check (range in ('recent', 'full', 'work_order', 'since')),
    -- range `work_order`: which one
    work_order          text collate "C",
    -- ranges `recent` and `since`: work orders changed at this time or later
    since               timestamptz(3),
    state               text not null check (state in ('waiting', 'running', 'good', 'drift', 'failed')),
    -- the principal that asked for it, or `schedule`
    requested_by        text not null,
    requested_at        timestamptz(3) not null,
    -- by the database's clock, before the first row is read. Rows that are written later belong to
    -- the next check.
    started_at          timestamptz(3),
    -- when the check last noted its progress
    advanced_at         timestamptz(3),
    finished_at         timestamptz(3),
    -- the last work order that was read completely; after a crash, the check goes on from here
    read_up_to          text collate "C",
    -- counted at the start; null before
    work_orders_total   bigint,
    work_orders_read    bigint not null default 0,
    rows_read           bigint not null default 0,
    -- findings that this check has seen, new or known
    findings_seen       bigint not null default 0,
    -- why it failed
    error               text
);

-- One row per drift. If a later check sees an open finding again, it updates this row, for example
-- `last_check_id` and `seen_at`.
create table consistency_findings (
    finding_id          text collate "C" primary key,
    first_check_id      text collate "C" not null,
    last_check_id       text collate "C" not null,
    work_order          text collate "C" not null,
    kind                text collate "C" not null,
    -- null: the whole work order
    counter             text collate "C" check (counter in ('input', 'output', 'scrap')),
    -- the first wrong row of the log, if there is one
    seq                 bigint,
    request_id          text collate "C",
    -- JSON values: a number, a word, or a list
    expected            jsonb,
    actual              jsonb,
    -- the rows that show the drift; if a person has to decide, also the proposed correction
    details             jsonb not null,
    -- `repair`: can be repaired from the log; `decision`: a person has to decide
    remedy              text not null check (remedy in ('repair', 'decision')),
    -- `repaired`: by a repair, or accepted by a person; `resolved`: a later check has not seen it
    state               text not null check (state in ('open', 'repaired', 'resolved')),
    found_at            timestamptz(3) not null,
    seen_at             timestamptz(3) not null,
    repaired_at         timestamptz(3),
    resolved_at         timestamptz(3)
);
-- a finding is open at most once
create unique index consistency_findings_open on consistency_findings (work_order, kind, coalesce(counter, ''))
    where state = 'open';
