logged as (
    insert into update_log (
        request_id, work_order, seq, at_seq, counter, action, quantity, asked_delta, set_to, expected,
        delta, before, after, barcode, barcode_canonical, step, step_canonical, station, terminal, operator,
        reason, note, fence, work_order_status, remaining, scanned_at, recorded_at, recorded_by, outcome, code,
        original_request_id, rendering)
    select
        u.request_id, u.work_order, u.seq, u.at_seq, u.counter, u.action, u.quantity, u.asked_delta, u.set_to, u.expected,
        u.delta, u.before, u.after, u.barcode, u.barcode_canonical, u.step, u.step_canonical, u.station, u.terminal, u.operator,
        u.reason, u.note, u.fence, u.work_order_status, u.remaining, u.scanned_at, u.recorded_at, u.recorded_by, u.outcome, u.code,
        u.original_request_id, u.rendering
    from recorded u
)
