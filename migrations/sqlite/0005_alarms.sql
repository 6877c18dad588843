-- The tables of the alarms: what is wrong, what people are to be told of it, and how far
-- each channel has got with telling them. Small, bounded, and never touched by a scan.
--
-- The same tables as on PostgreSQL, name by name. Here one process serves, and has every
-- turn and claim; the columns are there so that both stores are read and tested alike.

-- The right to compare what is wrong with what was told: one process at a time, so that
-- equal alarms go out as one message. One row; whoever finds it free or run out takes it.
create table alarm_turn (
    turn                integer primary key not null check (turn = 1),
    -- the process that has it; null: nobody
    holder              text,
    expires_at          text not null
) strict;
insert into alarm_turn (turn, holder, expires_at) values (1, null, '1970-01-01T00:00:00.000Z');

-- What only one process can see (its Redis is away, its database was), told to all.
-- A sighting that its process no longer renews is over.
create table alarm_sightings (
    kind                text not null,
    key                 text not null,
    holder              text not null,
    -- JSON: what is the matter
    cause               text not null,
    since               text not null,
    seen_at             text not null,
    primary key (kind, key, holder)
) strict, without rowid;

-- One row per alarm from firing to resolved.
create table alarms (
    alarm_id            text primary key not null,
    -- drift, check-overdue, check-failing, lease-away, storage-failing, duplicate-burst
    kind                text not null,
    -- what it is about: a work order, a range of checks, a station, a replica
    key                 text not null,
    -- JSON: what was the matter when it fired
    cause               text not null,
    -- since when it was so
    since               text not null,
    fired_at            text not null,
    -- since when it is so no more; it is resolved once that has lasted
    clear_since         text,
    resolved_at         text,
    -- how often in a row it came back soon after it was resolved
    recurrences         integer not null
) strict;
-- one open alarm per matter
create unique index alarms_open on alarms (kind, key) where resolved_at is null;
create index alarms_resolved on alarms (resolved_at) where resolved_at is not null;

-- One row per channel of the configuration: who sends just now, and how it went. The row
-- is the lock: one message of a channel is on its way at a time.
create table alarm_channels (
    channel             text primary key not null,
    -- the process that sends, and until when it has the right to
    claimed_by          text,
    claimed_until       text,
    -- how far the messages sent so far have used up the channel's rate
    paced_until         text,
    -- failed attempts in a row, since when, when the next one may be, what was said
    failures            integer not null default 0,
    failing_since       text,
    next_attempt_at     text,
    last_error          text,
    last_delivered_at   text
) strict;

-- The outbox: one row per message and channel, in the order in which they are to arrive.
create table alarm_messages (
    position            integer primary key autoincrement not null,
    -- the same over all attempts, for receivers that know a repeat
    message_id          text not null,
    channel             text not null,
    -- JSON: what there is to say, worded when it is sent
    notice              text not null,
    created_at          text not null,
    attempts            integer not null default 0,
    -- null: still to be sent
    settled_at          text,
    -- `dropped`: too old, or too many
    outcome             text check (outcome in ('delivered', 'dropped')),
    constraint alarm_messages_settled check ((settled_at is null) = (outcome is null))
) strict;
create index alarm_messages_waiting on alarm_messages (channel, position) where settled_at is null;
create index alarm_messages_old on alarm_messages (settled_at) where settled_at is not null;
