-- New claims. A plain insert, as for the log.
insert or rollback into barcode_claims ({names})
select * from {rows} where column1 is not null
