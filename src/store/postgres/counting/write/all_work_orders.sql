wanted as not materialized (
    select * from offered
)
