-- work orders that are not written, since a request id is decided already
held_back as (
    select known.work_order from known
)
