-- Alarms: what is wrong, the alarms about it, and the messages for each channel. These tables are
-- small and bounded, and no scan reads or writes them.

-- The lease for the watch, which compares what is wrong with the known alarms. One replica has it at a
-- time, so that each alarm is sent once. There is one row. A process takes the lease if it is free or
-- expired.
create table watch_lease (
    lease               smallint primary key check (lease = 1),
    -- the process that has the lease; null: free
    holder              text collate "C",
    expires_at          timestamptz(3) not null
);
insert into watch_lease (lease, holder, expires_at) values (1, null, 'epoch');

-- What only one process can see, for all processes: for example, that it can't reach Redis.
-- A process renews its sightings. A sighting that is not renewed is over.
create table alarm_sightings (
    kind                text collate "C" not null,
    key                 text collate "C" not null,
    holder              text collate "C" not null,
    -- JSON: what is wrong
    cause               jsonb not null,
    since               timestamptz(3) not null,
    seen_at             timestamptz(3) not null,
    primary key (kind, key, holder)
);

-- One row per alarm.
create table alarms (
    alarm_id            text collate "C" primary key,
    -- drift, check-overdue, check-failing, lease-away, storage-failing, duplicate-burst,
    -- weak-keys
    kind                text collate "C" not null,
    -- its subject: a work order, a range of checks, a station, or a replica
    key                 text collate "C" not null,
    -- JSON: what was wrong when it fired
    cause               jsonb not null,
    -- since when it was wrong
    since               timestamptz(3) not null,
    fired_at            timestamptz(3) not null,
    -- since when it is no longer wrong; after some time, the alarm is resolved
    clear_since         timestamptz(3),
    resolved_at         timestamptz(3),
    -- how many times in a row it came back soon after it was resolved
    recurrences         bigint not null
);
-- one open alarm per kind and subject
create unique index alarms_open on alarms (kind, key) where resolved_at is null;
create index alarms_resolved on alarms (resolved_at) where resolved_at is not null;

-- One row per channel of the configuration: which process sends now, and how its messages went. The
-- row is the lock: one message of a channel is sent at a time, from all replicas.
create table alarm_channels (
    channel             text collate "C" primary key,
    -- the process that sends, and until when it may
    claimed_by          text collate "C",
    claimed_until       timestamptz(3),
    -- until when the messages that were sent use up the channel's rate
    paced_until         timestamptz(3),
    -- failed attempts in a row, since when, when the next one may be, the last error
    failures            bigint not null default 0,
    failing_since       timestamptz(3),
    next_attempt_at     timestamptz(3),
    last_error          text,
    last_delivered_at   timestamptz(3)
);

-- The outbox: one row per message and channel. The messages of a channel are sent in this order.
create table alarm_messages (
    position            bigint generated always as identity primary key,
    -- the same for all attempts, so that a receiver can recognize a repeat
    message_id          text collate "C" not null,
    channel             text collate "C" not null,
    -- JSON: what the message says; its words are chosen when it is sent
    notice              jsonb not null,
    created_at          timestamptz(3) not null,
    attempts            bigint not null default 0,
    -- null: not sent yet
    settled_at          timestamptz(3),
    -- `dropped`: too old, or too many messages waited
    outcome             text check (outcome in ('delivered', 'dropped')),
    constraint alarm_messages_settled check ((settled_at is null) = (outcome is null))
);
create index alarm_messages_waiting on alarm_messages (channel, position) where settled_at is null;
create index alarm_messages_old on alarm_messages (settled_at) where settled_at is not null;
