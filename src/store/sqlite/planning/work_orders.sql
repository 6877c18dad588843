-- Work orders after ?1, with status ?2, of line ?3, with the text ?4 in number, product or line; at
-- most ?5. `lower` folds ASCII letters only, as `lower(… collate "C")` does on PostgreSQL; every other
-- letter is searched as it is written.
select {work_order} from work_orders as w
where w.work_order > ?1 and (?2 is null or w.status = ?2) and (?3 is null or w.line = ?3)
    and (?4 is null or instr(lower(w.work_order), lower(?4)) or instr(lower(w.product_code), lower(?4))
        or instr(lower(w.product_name), lower(?4)) or instr(lower(w.line), lower(?4)))
order by w.work_order limit ?5
