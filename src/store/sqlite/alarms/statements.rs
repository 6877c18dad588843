//! The statements of alarms and their outbox.

use crate::store::sqlite::row_json::json_object;
use crate::store::template::statements;

/// The columns of an alarm, except its cause.
const ALARM_COLUMNS: [&str; 6] = ["alarm_id", "since", "fired_at", "clear_since", "resolved_at", "recurrences"];
/// The columns of the state of a channel.
const CHANNEL_COLUMNS: [&str; 8] = [
    "claimed_by",
    "claimed_until",
    "paced_until",
    "failures",
    "failing_since",
    "next_attempt_at",
    "last_error",
    "last_delivered_at",
];
/// The columns of a message, except its notice.
const MESSAGE_COLUMNS: [&str; 4] = ["position", "message_id", "created_at", "attempts"];

statements! {
    parts;
    CONDITIONS = "conditions.sql",
    FORGET_SIGHTINGS = "forget_sightings.sql",
    SAVE_SIGHTINGS = "save_sightings.sql",
    TAKE_LEASE = "take_lease.sql",
    FIRE = "fire.sql",
    CLEAR = "clear.sql",
    RETURN = "return.sql",
    RESOLVE = "resolve.sql",
    OPEN_ALARMS = "open_alarms.sql",
    ADD_CHANNELS = "add_channels.sql",
    ADD_MESSAGES = "add_messages.sql",
    CHANNEL_QUEUES = "channel_queues.sql",
    LOCK_CHANNEL = "lock_channel.sql",
    FIRST_MESSAGE = "first_message.sql",
    UPDATE_CHANNEL = "update_channel.sql",
    UPDATE_MESSAGE = "update_message.sql",
    DROP_MESSAGES = "drop_messages.sql",
    DELETE_MESSAGES = "delete_messages.sql",
    DELETE_ALARMS = "delete_alarms.sql",
    DELETE_SIGHTINGS = "delete_sightings.sql",
}

fn parts() -> [(&'static str, String); 4] {
    let queue: Vec<&str> = ["channel", "waiting"].into_iter().chain(CHANNEL_COLUMNS).collect();
    [
        ("alarm", json_object("a", &ALARM_COLUMNS, &["cause"])),
        ("channel", json_object("c", &CHANNEL_COLUMNS, &[])),
        ("channel_queue", json_object("q", &queue, &[])),
        ("message", json_object("m", &MESSAGE_COLUMNS, &["notice"])),
    ]
}
