-- Adds an entry to the audit trail. The primary key refuses a request id that is already there.
insert into audit_trail (request_id, action, work_order, finding_id, recorded_at, recorded_by, operator, reason,
    payload, before, after)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10::text::jsonb, $11::text::jsonb)
