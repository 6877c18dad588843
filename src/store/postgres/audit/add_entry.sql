-- Adds an entry to the audit trail. Unique indexes refuse a request id that is already there, and a refusal
-- that was left already.
insert into audit_trail (request_id, action, work_order, finding_id, refusal, recorded_at, recorded_by, operator, reason,
    payload, before, after)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11::text::jsonb, $12::text::jsonb)
