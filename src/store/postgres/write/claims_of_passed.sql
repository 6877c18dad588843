-- those of work orders that passed
claims as materialized (
    select *
    from claim_changes c
    where (select gate.passed from gate) > 0 and (c.work_order in (select passed.work_order from passed)) is true
)
