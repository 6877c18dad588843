-- The updates of the request ids ?1.
select {update}
from json_each(?1) as wanted cross join update_log as u on u.request_id = wanted.value
