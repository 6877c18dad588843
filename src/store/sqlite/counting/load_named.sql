,
    -- The updates ?5 that undos and overrides name, and what has become of each.
    (select json_group_array(json_object(
            'update', {update},
            'is_taken_back', json(iif(exists (select 1 from update_log as b
                where b.takes_back = u.request_id), 'true', 'false')),
            'is_settled', json(iif(exists (select 1 from update_log as s
                where s.settles = u.request_id and s.seq is not null), 'true', 'false')),
            'released_at', (select r.seq from update_log as r
                where r.work_order = u.work_order and r.counter = u.counter
                and r.barcodes = 'release' and r.seq is not null
                order by r.seq desc limit 1)))
        from json_each(?5) as wanted cross join update_log as u on u.request_id = wanted.value),
    -- The claim that each has made. A claim has ordinal 1, or the seq of its update.
    (select json_group_array({claim})
        from json_each(?5) as wanted cross join update_log as u on u.request_id = wanted.value
        cross join barcode_claims as c
        on c.work_order = u.work_order and c.counter = u.counter and c.step = u.step_canonical
        and c.barcode = u.barcode_canonical and c.ordinal in (1, u.seq) and c.request_id = u.request_id)
