-- (… in (select …)) is true: kept as a hashed look-up, not turned into a join.
recorded as not materialized (
    select *
    from updates u
    where (select gate.passed from gate) > 0 and (u.work_order in (select passed.work_order from passed)) is true
)
