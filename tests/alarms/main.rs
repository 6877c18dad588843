//! Alarms on both stores, from the cause to the message that a person gets.
//!
//! A test calls a step of the watch or of a dispatch with a time of its choice, so it needs no waiting.
//! The receivers are real.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../stage/mod.rs"]
mod stage;

mod plant;
mod process;
mod raising;
mod sending;
mod storage;

/// One test of each case on each store.
macro_rules! on_both_stores {
    ($($subject:ident: $($case:ident)*;)*) => {
        on_both_stores! { @store postgresql on_postgres { $($subject: $($case)*;)* } }
        on_both_stores! { @store sqlite on_sqlite { $($subject: $($case)*;)* } }
    };
    (@store $store:ident $open:ident { $($subject:ident: $($case:ident)*;)* }) => {
        mod $store {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$subject::$case(crate::plant::$open().await).await;
            })*)*
        }
    };
}

on_both_stores! {
    raising:
        drift_is_told_once_however_often_it_is_seen_and_its_end_once
        drift_that_is_repaired_by_itself_is_told_all_the_same
        drift_in_many_work_orders_is_one_message
        a_burst_of_duplicates_at_one_station_is_told
        a_check_that_is_overdue_or_fails_is_told
        redis_that_is_away_for_long_is_told_once_whoever_sees_it
        request_ids_that_terminals_share_are_told_until_ten_minutes_without_them
        one_replica_has_the_turn_and_another_takes_it_over
        what_another_one_wrote_meanwhile_is_not_written_again
        what_checks_find_and_repairs_set_right_is_told_once_each;
    sending:
        messages_arrive_in_their_order_however_often_they_fail
        what_a_dead_process_had_claimed_is_sent_again_under_its_id
        the_rate_of_a_robot_holds_whatever_there_is_to_tell
        a_channel_gets_only_the_alarms_that_it_asked_for
        what_is_too_old_or_too_many_is_dropped_oldest_first
        pitfall_38_a_channel_that_stalls_delays_no_other;
    storage:
        a_store_that_fails_for_long_is_told_directly_and_written_down_later
        everything_is_read_back_as_it_was_written;
    process:
        a_service_tells_people_of_drift_and_bursts_and_shows_no_secret;
}
