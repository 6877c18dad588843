-- The rows that decide a batch: ?1 work orders, ?2 request ids, ?3 barcodes, ?4 how many claims of each.
--
-- `cross join` says which table leads: the list that was sent. So the log is looked up by its index,
-- however large it grows (pitfall 47). Lists of objects go through `jsonb_each`, lists of texts
-- through `json_each`: the latter would write an object as text again for each field that is read.
select (select json_group_array({work_order})
        from json_each(?1) as wanted cross join work_orders as w on w.work_order = wanted.value),
    (select json_group_array({update})
        from json_each(?2) as wanted cross join update_log as u on u.request_id = wanted.value),
    (select json_group_array({claim})
        from jsonb_each(?3) as wanted cross join {newest_claims}){named}
