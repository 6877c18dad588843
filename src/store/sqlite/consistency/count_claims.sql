-- The last seq in the log of the work order ?1, and how many claims its barcode (?2, ?3, ?4) has.
select (select coalesce(max(l.seq), 0) from update_log as l where l.work_order = ?1),
    (select count(*) from barcode_claims as c
        where c.work_order = ?1 and c.counter = ?2 and c.step = ?3 and c.barcode = ?4)
