-- The next numbers that stand in any of the three tables: a row of the log or a claim
-- may belong to no work order. Log and claims are skipped through, one probe a number.
with recursive logged(work_order, n) as (
    select min(l.work_order), 1 from update_log l where l.work_order > $1
    union all
    select (select min(l.work_order) from update_log l where l.work_order > logged.work_order), logged.n + 1
    from logged where logged.work_order is not null and logged.n < $2
), claimed(work_order, n) as (
    select min(c.work_order), 1 from barcode_claims c where c.work_order > $1
    union all
    select (select min(c.work_order) from barcode_claims c where c.work_order > claimed.work_order), claimed.n + 1
    from claimed where claimed.work_order is not null and claimed.n < $2
), named as (
    (select w.work_order from work_orders w where w.work_order > $1 order by w.work_order limit $2)
    union
    select logged.work_order from logged where logged.work_order is not null
    union
    select claimed.work_order from claimed where claimed.work_order is not null
)
select 'found' as kind, named.work_order, coalesce(w.seq, 0) as n
from named left join work_orders w on w.work_order = named.work_order
order by named.work_order
limit $2
