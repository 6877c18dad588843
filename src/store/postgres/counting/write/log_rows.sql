-- the rows of the log, in the order in which they go in
updates as not materialized (
    select {updates}
)
