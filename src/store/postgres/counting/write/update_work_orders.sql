-- Work orders are locked and updated one by one, in the order of their arrays, all of them before
-- the first log row goes in (`gate`). Log rows go in in the order of their arrays. No plan of this
-- statement sorts, hashes or merges what it unnests.
passed as (
    -- by a nested loop over `wanted`: the session has no other join
    update work_orders w
    set status = wanted.status, input_quantity = wanted.input_quantity, output_quantity = wanted.output_quantity,
        scrap_quantity = wanted.scrap_quantity, seq = wanted.seq, fence = wanted.fence, fence_owner = wanted.fence_owner,
        stamp = wanted.stamp, barcode_counted = wanted.barcode_counted, updated_at = wanted.updated_at
    from wanted
    where w.work_order = wanted.work_order
      and w.stamp = wanted.loaded
      and (w.fence < wanted.fence
           or (w.fence = wanted.fence and (w.fence_owner is null or w.fence_owner = wanted.fence_owner)))
    returning w.work_order
), gate as materialized (
    select count(*) = cardinality({work_orders_array}) as all_passed from passed
)
