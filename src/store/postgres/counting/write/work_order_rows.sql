-- the rows of work orders, in the order in which they are locked
offered as not materialized (
    select {work_orders}
)
