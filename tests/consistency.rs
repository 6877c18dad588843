//! The monitor on both stores: one list of cases, run on each by [`on_both_stores`], and
//! the commands and routes over it, against the real program.
//!
//! Drift is made by SQL, as by a hand that should not have been there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "consistency/commands.rs"]
mod commands;
#[path = "consistency/damages.rs"]
mod damages;
#[path = "consistency/drift.rs"]
mod drift;
#[path = "consistency/floor.rs"]
mod floor;
#[path = "consistency/load.rs"]
mod load;
#[path = "consistency/repairs.rs"]
mod repairs;
#[path = "consistency/runs.rs"]
mod runs;
#[path = "store_suite/shop.rs"]
#[expect(dead_code, reason = "the suite of the store uses the rest of it")]
mod shop;
mod stage;
#[path = "consistency/taken_back.rs"]
mod taken_back;

/// Makes one test of each case on each store.
macro_rules! on_both_stores {
    ($($subject:ident: $($case:ident)*;)*) => {
        on_both_stores! { @store postgres { $($subject: $($case)*;)* } }
        on_both_stores! { @store sqlite { $($subject: $($case)*;)* } }
    };
    (@store $name:ident { $($subject:ident: $($case:ident)*;)* }) => {
        mod $name {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let floor = crate::floor::Floor::$name().await;
                    crate::$subject::$case(&floor).await;
                }
            )*)*
        }
    };
}

on_both_stores! {
    drift:
        every_kind_of_drift_is_found_at_its_first_bad_row
        what_is_in_order_has_no_findings
        a_long_log_is_judged_as_a_short_one
        a_barcode_with_a_crowd_of_claims_is_counted
        pitfall_08_a_log_whose_last_row_agrees_is_summed_all_the_same
        pitfall_31_a_refused_scan_that_raised_something_is_found
        what_no_column_may_hold_is_refused_to_every_hand;
    taken_back:
        every_action_leaves_a_good_log
        each_damage_of_what_was_taken_back_is_found
        damage_of_a_long_log_is_found_as_that_of_a_short_one
        a_repair_writes_claims_with_the_seq_of_their_scans;
    repairs:
        what_the_log_explains_is_set_right_and_resolved
        a_dry_run_changes_nothing_and_says_what_would
        a_repeated_repair_is_a_replay
        what_the_log_cannot_explain_needs_a_decision
        what_a_person_accepts_is_not_found_again_and_what_else_is_wrong_is
        only_what_needs_a_decision_is_accepted_and_once
        pitfall_37_scans_race_a_repair_and_all_are_counted
        kinds_marked_safe_are_repaired_without_being_asked;
    runs:
        one_process_runs_a_check_at_a_time
        a_check_that_was_cut_short_is_gone_on_with
        a_check_whose_process_was_killed_is_gone_on_with_by_another
        a_recent_check_reads_what_has_changed
        a_clock_that_was_set_back_holds_up_no_check
        what_is_due_is_asked_for_once
        reports_are_kept_within_a_bound;
    load:
        pitfall_36_checks_all_the_time_raise_no_false_alarm;
    commands:
        drift_is_found_shown_repaired_and_resolved_by_commands_and_routes;
}
