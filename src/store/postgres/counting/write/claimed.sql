-- barcodes that no load has looked up and that stand counted
claimed as materialized (
    select unclaimed.work_order, row_to_json(hit)::text as row, hit.request_id
    from (select {unclaimed}) unclaimed
    cross join lateral (
        select * from barcode_claims c
        where c.work_order = unclaimed.work_order and c.counter = unclaimed.counter
          and c.step = unclaimed.step and c.barcode = unclaimed.barcode
        order by c.ordinal desc
        limit 1
    ) hit
)
