union all
select 'claimed', claimed.row from claimed
union all
-- the updates that counted those barcodes
select 'known', row_to_json(hit)::text
from claimed
cross join lateral (
    select * from update_log l where l.request_id = claimed.request_id limit 1
) hit
