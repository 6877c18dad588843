-- The update with the request id ?1.
where u.request_id = ?1
