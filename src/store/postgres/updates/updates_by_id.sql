-- The updates of the request ids $1.
select row_to_json(hit)::text from unnest($1::text[]) as wanted(request_id)
cross join lateral (select * from update_log l where l.request_id = wanted.request_id limit 1) hit
