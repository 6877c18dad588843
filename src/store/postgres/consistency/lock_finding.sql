-- Locks the finding $1 and returns its state.
select state from consistency_findings where finding_id = $1 for update
