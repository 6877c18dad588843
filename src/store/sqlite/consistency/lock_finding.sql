-- The state of the finding ?1. The transaction of the one writer is the lock.
select json_quote(state) from consistency_findings where finding_id = ?1
