logged as (
    insert into update_log ({log}) select {log} from recorded
)
