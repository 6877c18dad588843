//! What every store must do: one list of cases, run on each store.
//!
//! A case gets a store that others may be using, so it names its own work orders,
//! request ids and lines afresh. `store_suite!(open)` makes one test of each case.

#![expect(clippy::unwrap_used, reason = "a test that fails may well panic")]

pub mod cases;
pub mod shop;

/// Makes one test of each case of the suite; `$open` gives the store, and something to
/// keep until the case is over.
macro_rules! store_suite {
    ($open:path: $($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, _keep) = $open().await;
            store_suite::cases::$case(store).await;
        })*
    };
    ($open:path) => {
        $crate::store_suite::store_suite! { $open:
            a_work_order_is_created_and_replaced
            an_edit_that_is_refused_writes_nothing
            an_edit_changes_stamp_and_revision
            a_write_is_read_back_whole
            a_stale_work_order_keeps_back_its_own_rows_and_claims_whatever_the_statement
            the_log_keeps_line_and_product_as_they_were
            a_stale_stamp_is_overtaken_and_writes_nothing
            every_write_leaves_its_own_stamp
            a_newer_fence_passes_and_an_older_one_is_refused
            an_equal_fence_of_another_owner_is_refused
            without_a_lease_the_stamp_alone_decides
            pitfall_40_refusals_alone_do_not_stand_on_changed_facts
            pitfall_24_a_known_id_holds_back_its_work_order_and_no_other
            pitfall_2_a_counted_barcode_holds_back_its_work_order_and_no_other
            pitfall_23_a_taken_request_id_is_told_and_nothing_is_written
            a_taken_claim_is_told_and_nothing_is_written
            a_row_behind_its_log_is_told_and_its_neighbours_are_unharmed
            pitfall_6_a_value_refused_for_good_is_told_and_its_neighbours_are_unharmed
            claims_that_are_not_as_loaded_fail_the_whole_write
            pitfall_39_scan_and_unbind_of_one_barcode_in_one_batch
            pitfall_32_an_unbound_barcode_counts_again
            a_repeatable_barcode_stacks_its_claims
            an_undo_removes_the_claim_of_its_scan_and_no_other
            load_tells_what_has_become_of_a_named_update
            an_update_is_taken_back_once_and_a_refused_scan_settled_once
            a_release_frees_the_barcodes_of_its_counter_and_needs_the_row_lock
            a_release_that_is_not_written_frees_nothing
            load_gives_as_many_of_the_newest_claims_as_asked
            load_gives_nothing_for_what_is_not_there
            the_row_lock_path_decides_on_what_stands_and_writes_it
            the_row_lock_path_holds_others_off
            values_at_their_limits_come_back_as_they_went_in
            updates_are_listed_newest_first_whatever_the_page
            updates_are_filtered
            the_life_of_a_barcode_is_listed_newest_first
            work_orders_are_listed_by_number_whatever_the_page
            work_orders_are_filtered_and_searched
            refused_scans_that_may_be_settled_are_listed_newest_first_and_filtered
            a_refused_scan_tells_what_settles_it_and_who_left_it
            a_scan_that_many_leave_at_once_is_left_once
            what_is_settled_counted_or_unknown_is_not_left
            an_empty_list_of_anything_is_no_error
            pitfall_47_an_id_is_found_among_many
            many_writers_at_once_count_every_scan_once
            a_batch_longer_than_any_statement_is_written_whole
            pitfall_48_a_call_dropped_at_any_await_leaves_nothing_half_done
            the_epoch_stays_while_the_connection_does
            a_store_at_rest_is_ready
            a_closed_store_says_so
        }
    };
}
pub(crate) use store_suite;
