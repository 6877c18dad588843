-- Updates, each with the override that settles it and the entry that leaves it refused. `refusals.sql` and
-- `refusal.sql` say which updates.
select json_build_object('update', row_to_json(l), 'settled_by', settling.request_id, 'left', leaving.entry)::text
from update_log l
left join lateral (
    select s.request_id from update_log s where s.settles = l.request_id and s.seq is not null limit 1
) settling on true
left join lateral (
    select json_build_object('by', a.recorded_by, 'operator', a.operator, 'reason', a.reason, 'at', a.recorded_at) as entry
    from audit_trail a
    where a.refusal = l.request_id
    limit 1
) leaving on true
