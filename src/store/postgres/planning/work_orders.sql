-- A page of work orders, by number. Only ASCII letters are compared without their case (collate "C"), as
-- on SQLite.
select row_to_json(w)::text as row
from work_orders w
where ($1::text is null or w.work_order > $1)
  and ($2::text is null or w.status = $2)
  and ($3::text is null or w.line = $3)
  and ($4::text is null
       or strpos(lower(w.work_order), lower($4 collate "C")) > 0
       or strpos(lower(w.product_code collate "C"), lower($4 collate "C")) > 0
       or strpos(lower(w.product_name collate "C"), lower($4 collate "C")) > 0
       or strpos(lower(w.line collate "C"), lower($4 collate "C")) > 0)
order by w.work_order
limit $5
