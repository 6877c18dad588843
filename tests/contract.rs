//! The contract, sections 2 to 6, 10 and 14, over real HTTP against the real program: one list
//! of cases, run on every set-up by [`on_every_setup`].
//!
//! A test with a number in its name shows that this entry of the design's list of pitfalls is
//! avoided.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "contract/batches.rs"]
mod batches;
#[path = "contract/counting.rs"]
mod counting;
#[path = "contract/edges.rs"]
mod edges;
#[path = "contract/ends.rs"]
mod ends;
#[path = "contract/labels.rs"]
mod labels;
#[path = "contract/reads.rs"]
mod reads;
#[path = "contract/refusals.rs"]
mod refusals;
#[path = "contract/repeats.rs"]
mod repeats;
#[path = "contract/settling.rs"]
mod settling;
#[path = "contract/shop.rs"]
mod shop;
mod stage;
#[path = "contract/taken_back.rs"]
mod taken_back;

/// Makes one test of each case on each set-up.
macro_rules! on_every_setup {
    ($($subject:ident: $($case:ident)*;)*) => {
        on_every_setup! { @setup embedded Embedded { $($subject: $($case)*;)* } }
        on_every_setup! { @setup shared Shared { $($subject: $($case)*;)* } }
        on_every_setup! { @setup rows_alone RowsAlone { $($subject: $($case)*;)* } }
    };
    (@setup $name:ident $kind:ident { $($subject:ident: $($case:ident)*;)* }) => {
        mod $name {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let shop = crate::shop::open(crate::shop::Kind::$kind).await;
                    crate::$subject::$case(&shop).await;
                }
            )*)*
        }
    };
}

on_every_setup! {
    refusals:
        pitfall_27_a_final_refusal_stands_for_ever
        what_is_not_final_leaves_no_row_and_may_be_sent_again
        what_is_wrong_with_fields_is_told_of_all_at_once;
    repeats:
        a_201_is_the_same_bytes_for_ever
        a_scan_sent_singly_and_in_a_batch_is_one_request
        pitfall_21_another_payload_under_a_key_is_refused_before_any_effect
        what_is_written_otherwise_is_the_same_request
        pitfall_22_23_equal_requests_at_once_all_get_the_first_ones_answer
        a_replay_from_another_address_is_counted_as_a_weak_key
        pitfall_25_a_missing_or_bad_key_counts_nothing;
    counting:
        pitfall_02_a_part_counts_once_and_the_second_is_told_by_whom
        pitfall_03_05_scans_of_one_millisecond_all_count
        pitfall_04_09_the_answer_tells_what_became_of_the_scan
        pitfall_05_06_08_the_log_explains_the_quantity_after_each_change
        pitfall_07_nothing_is_clamped_at_zero
        pitfall_30_what_a_scanner_varies_is_one_barcode
        pitfall_31_a_refused_scan_raises_nothing_anywhere
        pitfall_32_an_unbound_barcode_counts_again
        pitfall_44_45_text_that_would_upset_a_store_is_refused
        an_unbind_takes_back_the_newest_count_of_a_repeatable_barcode
        the_plan_and_its_allowance_are_the_limit_of_input_and_output
        corrections_change_by_or_to_a_quantity
        quantities_reach_a_million_millions_and_no_further
        the_status_follows_hold_quantities_and_plan;
    labels:
        pitfall_30_labels_that_look_the_same_are_one_part
        pitfall_44_common_labels_are_taken_whole
        pitfall_76_what_does_not_match_the_pattern_is_refused
        blank_text_is_no_text;
    taken_back:
        an_undo_takes_back_exactly_the_scan_that_it_names
        an_undo_is_of_the_same_work_order_and_counter
        an_undo_before_its_scan_is_404_and_counts_after_it
        undos_and_an_unbind_of_one_repeatable_barcode_in_one_batch
        a_recount_with_release_frees_the_barcodes_of_its_counter
        a_release_among_other_requests_keeps_their_order
        a_late_scan_is_decided_as_if_the_hold_were_not_there
        an_override_settles_a_refused_scan_once;
    settling:
        a_refused_scan_is_listed_and_an_override_settles_it
        a_refused_scan_that_is_left_is_not_open_and_may_still_be_counted
        refused_scans_are_paged_without_gap_or_repeat;
    batches:
        items_are_independent_and_answered_in_order
        pitfall_24_an_id_twice_in_a_batch_is_one_effect
        a_thousand_items_are_a_batch_and_one_more_is_none
        a_batch_fails_as_a_whole_for_its_shape_alone;
    reads:
        planning_creates_and_replaces
        pitfall_43_no_etag_comes_again_and_a_stale_one_is_refused
        work_orders_are_listed_filtered_and_paged
        updates_are_listed_filtered_and_paged
        updates_are_csv_where_asked_and_no_formula
        an_update_is_found_by_any_request_id_and_by_barcode
        the_lease_tells_who_works;
    edges:
        malformed_requests_leave_as_problems
        garbage_on_the_socket_is_answered_or_closed
        health_and_documents_are_open
        metrics_have_bounded_labels
        a_client_that_goes_away_loses_and_doubles_nothing;
    ends:
        pitfall_26_a_restart_changes_no_answer
        a_stopping_service_drains
        pitfall_43_every_write_leaves_another_stamp
        the_databases_names_are_the_contracts;
}
