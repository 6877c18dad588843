-- Adds updates to the log. A plain insert: a conflict must fail the whole batch.
insert or rollback into update_log ({names})
select * from {rows} where column1 is not null
