-- new claims of work orders that passed
inserted as (
    insert into barcode_claims ({claim})
    select {claim}
    from (select {new_claims}) c
    where (select gate.all_passed from gate) or c.work_order in (select passed.work_order from passed)
)
