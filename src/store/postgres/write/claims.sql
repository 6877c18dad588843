-- claims of work orders that passed
claims as materialized (
    select *
    from (
        select unnest($48::text[]) as change, unnest($49::text[]) as work_order, unnest($50::text[]) as counter,
               unnest($51::text[]) as step, unnest($52::text[]) as barcode, unnest($53::bigint[]) as ordinal,
               unnest($54::text[]) as request_id, unnest($55::bigint[]) as quantity
    ) c
    where (select gate.passed from gate) > 0 and (c.work_order in (select passed.work_order from passed)) is true
), inserted as (
    insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
    select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity
    from claims c where c.change = 'insert'
)
