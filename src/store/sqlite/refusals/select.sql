-- Updates, each with the override that settles it and the entry that leaves it refused. `refusals.sql` and
-- `refusal.sql` say which updates.
select json_object('update', {update},
    'settled_by', (select s.request_id from update_log as s where s.settles = u.request_id and s.seq is not null),
    'left', json((select json_object('by', a.recorded_by, 'operator', a.operator, 'reason', a.reason, 'at', a.recorded_at)
        from audit_trail as a where a.refusal = u.request_id)))
from update_log as u
