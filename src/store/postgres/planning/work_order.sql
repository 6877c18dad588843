-- The work order $1.
select row_to_json(w)::text from work_orders w where w.work_order = $1
