-- claims that no longer stand, or that another update now holds
present as materialized (
    select claims.*, hit.ctid as place
    from claims
    cross join lateral (
        select b.ctid from barcode_claims b
        where b.work_order = claims.work_order and b.counter = claims.counter and b.step = claims.step
          and b.barcode = claims.barcode and b.ordinal = claims.ordinal
        limit 1
    ) hit
    where claims.change in ('delete', 'take_over')
), as_loaded as materialized (
    -- claims that are not as they were loaded fail the whole statement (division by zero)
    select 1 / (case when (select count(*) from present)
                        = (select count(*) from claims c where c.change in ('delete', 'take_over'))
                     then 1 else 0 end) as one
), deleted as (
    delete from barcode_claims b using present p where p.change = 'delete' and b.ctid = p.place
), taken_over as (
    update barcode_claims b
    set request_id = p.request_id, quantity = p.quantity
    from present p
    where p.change = 'take_over' and b.ctid = p.place
)
