held_back as (
    select known.work_order from known
)
