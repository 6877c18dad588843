-- Frees all barcodes of the counter ?2 of the work order ?1.
delete from barcode_claims where work_order = ?1 and counter = ?2
