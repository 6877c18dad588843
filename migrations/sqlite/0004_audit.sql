-- The audit trail: who changed what outside the log, when, why, from what to what. A row is never
-- changed and never deleted.
create table audit_trail (
    -- the Idempotency-Key of the request, or one made by the service; a repeat is answered from this row
    request_id          text primary key not null,
    action              text not null,
    work_order          text,
    finding_id          text,
    recorded_at         text not null,
    recorded_by         text not null,
    -- the person named in the request
    operator            text,
    reason              text not null,
    -- what was asked; compared when the request id is used again
    payload             text not null,
    before              text not null,
    after               text not null
) strict;
create index audit_trail_work_order on audit_trail (work_order, recorded_at);
