wanted as not materialized (
    select * from offered where offered.work_order not in (select held_back.work_order from held_back)
)
