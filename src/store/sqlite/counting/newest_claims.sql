barcode_claims as c
        -- The newest claims of a `wanted` barcode, as many as its depth says. The ordinals of one
        -- barcode are 1..n without gaps, so they are counted from the highest.
        on c.work_order = wanted.value ->> 'work_order' and c.counter = wanted.value ->> 'counter'
        and c.step = wanted.value ->> 'step' and c.barcode = wanted.value ->> 'barcode'
        and c.ordinal > (select max(n.ordinal) from barcode_claims as n
            where n.work_order = wanted.value ->> 'work_order' and n.counter = wanted.value ->> 'counter'
            and n.step = wanted.value ->> 'step' and n.barcode = wanted.value ->> 'barcode')
            - (wanted.value ->> 'depth')
