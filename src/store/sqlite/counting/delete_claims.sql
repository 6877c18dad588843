-- Claims that no longer stand, each only while the update that we know of holds it.
delete from barcode_claims where (work_order, counter, step, barcode, ordinal, request_id) in (
    select next.work_order, next.counter, next.step, next.barcode, next.ordinal, next.request_id
    from (select {named} from {rows}) as next)
