barcode_claims as c
        -- The newest claims of a `wanted` barcode, {depth} of them. Ordinals may have gaps.
        on c.work_order = wanted.value ->> 'work_order' and c.counter = wanted.value ->> 'counter'
        and c.step = wanted.value ->> 'step' and c.barcode = wanted.value ->> 'barcode'
        and c.ordinal >= (select min(newest.ordinal) from (
            select n.ordinal from barcode_claims as n
            where n.work_order = wanted.value ->> 'work_order' and n.counter = wanted.value ->> 'counter'
            and n.step = wanted.value ->> 'step' and n.barcode = wanted.value ->> 'barcode'
            order by n.ordinal desc limit {depth}) as newest)
