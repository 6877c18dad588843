-- The tables of the alarms: what is wrong, what people are to be told of it, and how far
-- each channel has got with telling them. Small, bounded, and never touched by a scan.

-- The right to compare what is wrong with what was told: one replica at a time, so that
-- equal alarms go out as one message. One row; whoever finds it free or run out takes it.
create table alarm_turn (
    turn                smallint primary key check (turn = 1),
    -- the process that has it; null: nobody
    holder              text collate "C",
    expires_at          timestamptz(3) not null
);
insert into alarm_turn (turn, holder, expires_at) values (1, null, 'epoch');

-- What only one process can see (its Redis is away, its database was), told to all.
-- A sighting that its process no longer renews is over.
create table alarm_sightings (
    kind                text collate "C" not null,
    key                 text collate "C" not null,
    holder              text collate "C" not null,
    -- JSON: what is the matter
    cause               jsonb not null,
    since               timestamptz(3) not null,
    seen_at             timestamptz(3) not null,
    primary key (kind, key, holder)
);

-- One row per alarm from firing to resolved.
create table alarms (
    alarm_id            text collate "C" primary key,
    -- drift, check-overdue, check-failing, lease-away, storage-failing, duplicate-burst
    kind                text collate "C" not null,
    -- what it is about: a work order, a range of checks, a station, a replica
    key                 text collate "C" not null,
    -- JSON: what was the matter when it fired
    cause               jsonb not null,
    -- since when it was so
    since               timestamptz(3) not null,
    fired_at            timestamptz(3) not null,
    -- since when it is so no more; it is resolved once that has lasted
    clear_since         timestamptz(3),
    resolved_at         timestamptz(3),
    -- how often in a row it came back soon after it was resolved
    recurrences         bigint not null
);
-- one open alarm per matter
create unique index alarms_open on alarms (kind, key) where resolved_at is null;
create index alarms_resolved on alarms (resolved_at) where resolved_at is not null;

-- One row per channel of the configuration: who sends just now, and how it went. The row
-- is the lock: one message of a channel is on its way at a time, whatever the replicas.
create table alarm_channels (
    channel             text collate "C" primary key,
    -- the process that sends, and until when it has the right to
    claimed_by          text collate "C",
    claimed_until       timestamptz(3),
    -- how far the messages sent so far have used up the channel's rate
    paced_until         timestamptz(3),
    -- failed attempts in a row, since when, when the next one may be, what was said
    failures            bigint not null default 0,
    failing_since       timestamptz(3),
    next_attempt_at     timestamptz(3),
    last_error          text,
    last_delivered_at   timestamptz(3)
);

-- The outbox: one row per message and channel, in the order in which they are to arrive.
create table alarm_messages (
    position            bigint generated always as identity primary key,
    -- the same over all attempts, for receivers that know a repeat
    message_id          text collate "C" not null,
    channel             text collate "C" not null,
    -- JSON: what there is to say, worded when it is sent
    notice              jsonb not null,
    created_at          timestamptz(3) not null,
    attempts            bigint not null default 0,
    -- null: still to be sent
    settled_at          timestamptz(3),
    -- `dropped`: too old, or too many
    outcome             text check (outcome in ('delivered', 'dropped')),
    constraint alarm_messages_settled check ((settled_at is null) = (outcome is null))
);
create index alarm_messages_waiting on alarm_messages (channel, position) where settled_at is null;
create index alarm_messages_old on alarm_messages (settled_at) where settled_at is not null;
