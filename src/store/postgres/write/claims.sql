-- claims of work orders that passed
claims as materialized (
    select *
    from unnest($48::text[], $49::text[], $50::text[], $51::text[], $52::text[], $53::bigint[], $54::text[], $55::bigint[])
        as c(change, work_order, counter, step, barcode, ordinal, request_id, quantity)
    where (select gate.passed from gate) > 0 and (c.work_order in (select passed.work_order from passed)) is true
), inserted as (
    insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
    select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity
    from claims c where c.change = 'insert'
)
