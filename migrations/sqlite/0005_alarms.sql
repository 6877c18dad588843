-- Alarms: what is wrong, the alarms about it, and the messages for each channel. These tables are
-- small and bounded, and no scan reads or writes them.
--
-- They are the same as on PostgreSQL. Here one process serves, so it has the lease and all claims. The
-- columns exist so that the same code and the same tests serve both stores.

-- The lease for the watch, which compares what is wrong with the known alarms. One process has it at a
-- time, so that each alarm is sent once. There is one row. A process takes the lease if it is free or
-- expired.
create table watch_lease (
    lease               integer primary key not null check (lease = 1),
    -- the process that has the lease; null: free
    holder              text,
    expires_at          text not null
) strict;
insert into watch_lease (lease, holder, expires_at) values (1, null, '1970-01-01T00:00:00.000Z');

-- What only one process can see, for all processes: for example, that it can't reach Redis.
-- A process renews its sightings. A sighting that is not renewed is over.
create table alarm_sightings (
    kind                text not null,
    key                 text not null,
    holder              text not null,
    -- JSON: what is wrong
    cause               text not null,
    since               text not null,
    seen_at             text not null,
    primary key (kind, key, holder)
) strict, without rowid;

-- One row per alarm.
create table alarms (
    alarm_id            text primary key not null,
    -- drift, check-overdue, check-failing, lease-away, storage-failing, duplicate-burst,
    -- weak-keys
    kind                text not null,
    -- its subject: a work order, a range of checks, a station, or a replica
    key                 text not null,
    -- JSON: what was wrong when it fired
    cause               text not null,
    -- since when it was wrong
    since               text not null,
    fired_at            text not null,
    -- since when it is no longer wrong; after some time, the alarm is resolved
    clear_since         text,
    resolved_at         text,
    -- how many times in a row it came back soon after it was resolved
    recurrences         integer not null
) strict;
-- one open alarm per kind and subject
create unique index alarms_open on alarms (kind, key) where resolved_at is null;
create index alarms_resolved on alarms (resolved_at) where resolved_at is not null;

-- One row per channel of the configuration: which process sends now, and how its messages went. The
-- row is the lock: one message of a channel is sent at a time.
create table alarm_channels (
    channel             text primary key not null,
    -- the process that sends, and until when it may
    claimed_by          text,
    claimed_until       text,
    -- until when the messages that were sent use up the channel's rate
    paced_until         text,
    -- failed attempts in a row, since when, when the next one may be, the last error
    failures            integer not null default 0,
    failing_since       text,
    next_attempt_at     text,
    last_error          text,
    last_delivered_at   text
) strict;

-- The outbox: one row per message and channel. The messages of a channel are sent in this order.
create table alarm_messages (
    position            integer primary key autoincrement not null,
    -- the same for all attempts, so that a receiver can recognize a repeat
    message_id          text not null,
    channel             text not null,
    -- JSON: what the message says; its words are chosen when it is sent
    notice              text not null,
    created_at          text not null,
    attempts            integer not null default 0,
    -- null: not sent yet
    settled_at          text,
    -- `dropped`: too old, or too many messages waited
    outcome             text check (outcome in ('delivered', 'dropped')),
    constraint alarm_messages_settled check ((settled_at is null) = (outcome is null))
) strict;
create index alarm_messages_waiting on alarm_messages (channel, position) where settled_at is null;
create index alarm_messages_old on alarm_messages (settled_at) where settled_at is not null;
