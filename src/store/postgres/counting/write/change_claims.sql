-- claims that no longer stand, and claims that another update now holds
changes as materialized (
    select *
    from (
        select 'delete' as change, {deleted_claims}
        union all
        select 'take_over', {taken_over_claims}
    ) c
    where (select gate.all_passed from gate) or c.work_order in (select passed.work_order from passed)
), present as materialized (
    select changes.*, hit.ctid as place
    from changes
    cross join lateral (
        select b.ctid from barcode_claims b
        where b.work_order = changes.work_order and b.counter = changes.counter and b.step = changes.step
          and b.barcode = changes.barcode and b.ordinal = changes.ordinal
        limit 1
    ) hit
), as_loaded as materialized (
    -- Claims that are not as they were loaded fail the whole statement (division by zero). The stamp
    -- rules that out, so this happens only if somebody else writes to the tables.
    select 1 / (case when (select count(*) from present) = (select count(*) from changes) then 1 else 0 end) as one
), deleted as (
    delete from barcode_claims b using present p where p.change = 'delete' and b.ctid = p.place
), taken_over as (
    update barcode_claims b
    set request_id = p.request_id, quantity = p.quantity
    from present p
    where p.change = 'take_over' and b.ctid = p.place
)
