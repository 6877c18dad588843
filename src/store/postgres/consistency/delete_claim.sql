-- Deletes one claim.
delete from barcode_claims
where work_order = $1 and counter = $2 and step = $3 and barcode = $4 and ordinal = $5
