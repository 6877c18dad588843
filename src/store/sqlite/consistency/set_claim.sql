-- Writes one claim, new or changed.
insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
on conflict (work_order, counter, step, barcode, ordinal)
do update set request_id = excluded.request_id, quantity = excluded.quantity
