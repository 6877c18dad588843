-- The updates $8 that undos and overrides name, what has become of each, and the claim that each has made.
-- A claim has ordinal 1, or the seq of its update.
union all
select 'named', json_build_object(
    'update', row_to_json(hit),
    'is_taken_back', exists (select from update_log b where b.takes_back = hit.request_id),
    'is_settled', exists (select from update_log s where s.settles = hit.request_id and s.seq is not null),
    'released_at', (
        select r.seq from update_log r
        where r.work_order = hit.work_order and r.counter = hit.counter and r.barcodes = 'release' and r.seq is not null
        order by r.seq desc
        limit 1
    )
)::text
from unnest($8::text[]) as named(request_id)
cross join lateral (
    select * from update_log l where l.request_id = named.request_id limit 1
) hit
union all
select 'claim', row_to_json(claim)::text
from unnest($8::text[]) as named(request_id)
cross join lateral (
    select * from update_log l where l.request_id = named.request_id limit 1
) hit
cross join lateral (
    select * from barcode_claims c
    where c.work_order = hit.work_order and c.counter = hit.counter
      and c.step = hit.step_canonical and c.barcode = hit.barcode_canonical
      and c.ordinal = any (array[1, hit.seq]) and c.request_id = hit.request_id
    limit 1
) claim
