-- The audit trail: who changed what outside the log, when, why, from what to what. A row is never
-- changed and never deleted.
create table audit_trail (
    -- the Idempotency-Key of the request, or one made by the service; a repeat is answered from this row
    request_id          text collate "C" primary key,
    action              text not null,
    work_order          text collate "C",
    finding_id          text collate "C",
    recorded_at         timestamptz(3) not null,
    recorded_by         text not null,
    -- the person named in the request
    operator            text,
    reason              text not null,
    -- what was asked; compared when the request id is used again
    payload             jsonb not null,
    before              jsonb not null,
    after               jsonb not null
);
create index audit_trail_work_order on audit_trail (work_order, recorded_at);
