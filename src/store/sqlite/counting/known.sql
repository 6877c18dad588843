-- Looks up what no load has looked up. Takes the write lock first, in the same message.
-- ?1 barcodes: finds the newest claim of each, and the updates that made these claims
-- ?2 request ids: finds their updates
begin immediate;
with claimed (request_id, claim) as materialized (
    select c.request_id, {claim} from jsonb_each(?1) as wanted cross join {newest_claims}),
ids (request_id) as (select value from json_each(?2) union all select request_id from claimed)
select (select json_group_array(json(claim)) from claimed),
    (select json_group_array({update}) from ids cross join update_log as u on u.request_id = ids.request_id)
