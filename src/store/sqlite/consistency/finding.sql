-- The finding ?1.
select {finding}
from consistency_findings as f
where f.finding_id = ?1
