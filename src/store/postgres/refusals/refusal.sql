-- The update with the request id $1.
where l.request_id = $1::text
limit 1
