-- A commit that waits for the synchronous standby, if there is one. It writes one small record to the
-- write-ahead log and nothing to a table.
select case when current_setting('synchronous_standby_names') <> '' and not pg_is_in_recovery()
            then pg_logical_emit_message(true, 'scanfence', 'connected')::text end
