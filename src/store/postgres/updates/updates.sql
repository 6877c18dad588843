-- A work order's updates, newest first. Counted ones are ordered by seq, refused ones by at_seq.
-- At the same seq, the refused ones are newer. Each half is read down its own index.
-- $1 the work order
-- $2, $4, $11 the page continues after this refused update: its at_seq, recorded_at and request id
-- $3 the page continues after this counted update: its seq
-- $5 the counter, or null
-- $6 the outcome, or null
-- $7 the canonical barcode, or null
-- $8 recorded from, or null
-- $9 recorded before, or null
-- $10 most updates
select page.row
from (
    (select l.seq as at, 0 as refused, l.recorded_at, l.request_id, row_to_json(l)::text as row
     from update_log l
     where l.work_order = $1 and l.seq is not null
       and ($2::bigint is null or l.seq <= $2)
       and ($3::bigint is null or l.seq < $3)
       and ($5::text is null or l.counter = $5)
       and ($6::text is null or l.outcome = $6)
       and ($7::text is null or l.barcode_canonical = $7)
       and ($8::timestamptz is null or l.recorded_at >= $8)
       and ($9::timestamptz is null or l.recorded_at < $9)
     order by l.seq desc
     limit $10)
    union all
    (select l.at_seq, 1, l.recorded_at, l.request_id, row_to_json(l)::text
     from update_log l
     where l.work_order = $1 and l.seq is null
       and ($2::bigint is null or (l.at_seq, l.recorded_at, l.request_id) < ($2, $4, $11))
       and ($3::bigint is null or l.at_seq < $3)
       and ($5::text is null or l.counter = $5)
       and ($6::text is null or l.outcome = $6)
       and ($7::text is null or l.barcode_canonical = $7)
       and ($8::timestamptz is null or l.recorded_at >= $8)
       and ($9::timestamptz is null or l.recorded_at < $9)
     order by l.at_seq desc, l.recorded_at desc, l.request_id desc
     limit $10)
) page
order by page.at desc, page.refused desc, page.recorded_at desc, page.request_id desc
limit $10
