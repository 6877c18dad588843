-- The next $2 numbers after $1 that are in any of the three tables: a log row or a claim can exist
-- without its work order. In the log and the claims, each number costs one look-up in the index.
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
), numbered as (
    (select w.work_order from work_orders w where w.work_order > $1 order by w.work_order limit $2)
    union
    select logged.work_order from logged where logged.work_order is not null
    union
    select claimed.work_order from claimed where claimed.work_order is not null
)
select 'found' as kind, numbered.work_order, coalesce(w.seq, 0) as n
from numbered left join work_orders w on w.work_order = numbered.work_order
order by numbered.work_order
limit $2
