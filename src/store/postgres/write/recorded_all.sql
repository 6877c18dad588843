-- all or nothing: one work order that did not pass fails the whole statement, by what is no number
recorded as not materialized (
    select *
    from updates
    where (case when (select gate.passed from gate) = cardinality($3::text[])
                then '1' else 'a work order did not pass' end)::int = 1
)
