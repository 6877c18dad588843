-- The audit trail: each change outside the log, with who, when, why, and the values before and after.
-- A row is never changed and never deleted.
create table audit_trail (
    -- the Idempotency-Key of the request, or an id that the service has made; a repeated request gets
    -- its answer from this row
    request_id          text primary key not null,
    action              text not null,
    work_order          text,
    finding_id          text,
    -- the refused scan that a person left refused
    refusal             text,
    recorded_at         text not null,
    recorded_by         text not null,
    -- the person named in the request
    operator            text,
    reason              text not null,
    -- the request; it is compared if the request id is used again
    payload             text not null,
    before              text not null,
    after               text not null
) strict;
create index audit_trail_work_order on audit_trail (work_order, recorded_at);
-- a refused scan is left refused once
create unique index audit_trail_refusal on audit_trail (refusal) where refusal is not null;
