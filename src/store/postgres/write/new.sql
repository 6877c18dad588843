-- request ids and barcodes are taken for new: where one is not, a primary key refuses the whole
-- statement, and one that looks tells which it was
known as materialized (
    select ($2::text[])[1] as work_order, ($1::text[])[1] as row where false
)
