inserted as (
    insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
    select c.work_order, c.counter, c.step, c.barcode, c.ordinal, c.request_id, c.quantity
    from claims c where c.change = 'insert'
)
