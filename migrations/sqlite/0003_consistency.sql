-- The tables of the monitor: checks of the log against the quantities, what they found,
-- and who mended it. They are small, bounded, and never touched by a scan. The same
-- tables as on PostgreSQL; times and JSON values are texts.

-- The right to run a check: one replica or command at a time. One row; whoever finds it
-- free or run out, by this machine's clock, takes it. Renewed while a check makes progress.
create table consistency_lease (
    lease               integer primary key check (lease = 1),
    -- the process that runs a check; null: nobody
    holder              text,
    expires_at          text not null
) strict;
insert into consistency_lease (lease, holder, expires_at) values (1, null, '1970-01-01T00:00:00.000Z');

-- One row per check, from the moment it is asked for; afterwards its report.
create table consistency_checks (
    check_id            text primary key not null,
    range               text not null check (range in ('recent', 'full', 'work_order', 'since')),
    -- range `work_order`: the one
    work_order          text,
    -- ranges `recent` and `since`: work orders changed at this time or later
    since               text,
    state               text not null check (state in ('waiting', 'running', 'good', 'drift', 'failed')),
    -- the principal that asked for it, or `schedule`
    requested_by        text not null,
    requested_at        text not null,
    -- by the database's clock, before the first row is read: what is written later is
    -- left to the next check
    started_at          text,
    -- when progress was last noted
    advanced_at         text,
    finished_at         text,
    -- the last work order that was read whole: where the check goes on after a crash
    read_up_to          text,
    -- as counted at the start; null until then
    work_orders_total   integer,
    work_orders_read    integer not null default 0,
    rows_read           integer not null default 0,
    -- findings that this check saw, new or known
    findings_seen       integer not null default 0,
    -- why it failed
    error               text
) strict;

-- One row per drift. While it is open, later checks that see it again only move
-- `last_check_id` and `seen_at`.
create table consistency_findings (
    finding_id          text primary key not null,
    first_check_id      text not null,
    last_check_id       text not null,
    work_order          text not null,
    kind                text not null,
    -- null: of the work order as a whole
    counter             text check (counter in ('input', 'output', 'scrap')),
    -- the first bad row of the log, where there is one
    seq                 integer,
    request_id          text,
    -- JSON values: a number, a word, or a list
    expected            text,
    actual              text,
    -- the rows that show it, and the correction proposed where a person has to decide
    details             text not null,
    -- `repair`: can be set right from the log; `decision`: a person has to decide
    remedy              text not null check (remedy in ('repair', 'decision')),
    -- `repaired`: set right; `resolved`: a later check no longer saw it
    state               text not null check (state in ('open', 'repaired', 'resolved')),
    found_at            text not null,
    seen_at             text not null,
    repaired_at         text,
    resolved_at         text
) strict;
-- a repeated check does not open the same finding twice
create unique index consistency_findings_open on consistency_findings (work_order, kind, coalesce(counter, ''))
    where state = 'open';
