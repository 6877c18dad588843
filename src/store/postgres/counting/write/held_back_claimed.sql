-- work orders that are not written, since a request id is decided already or a barcode is counted
held_back as (
    select known.work_order from known
    union all
    select claimed.work_order from claimed
)
