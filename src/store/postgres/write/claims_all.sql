-- once all work orders have passed, or none: see `recorded_all`
claims as not materialized (
    select * from claim_changes where (select gate.passed from gate) > 0
)
