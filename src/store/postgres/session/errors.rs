//! What the errors of PostgreSQL mean.

use crate::store::StoreError;

/// Turns an error of the server into what it means for a batch.
pub(in super::super) fn judge(error: sqlx::Error) -> StoreError {
    let code = match &error {
        sqlx::Error::Database(refusal) => refusal.code().map(|code| code.into_owned()).unwrap_or_default(),
        _ => return StoreError::Broken(error.into()),
    };
    let constraint = error.as_database_error().and_then(|refusal| refusal.constraint());
    match (code.as_str(), constraint) {
        ("23505", Some("update_log_work_order_seq_key")) => StoreError::BehindLog(error.into()),
        (
            "23505",
            Some(
                "update_log_pkey"
                | "barcode_claims_pkey"
                | "work_orders_pkey"
                | "consistency_checks_pkey"
                | "audit_trail_pkey"
                | "audit_trail_refusal",
            ),
        ) => StoreError::Taken(error.into()),
        // serialization failure, deadlock, lock not available, statement timeout
        ("40001" | "40P01" | "55P03" | "57014", _) => StoreError::TryAgain(error.into()),
        // claims that are not as they were loaded: see `change_claims.sql`
        ("22012", _) => StoreError::TryAgain(error.into()),
        // a standby: connect again, to the server that is the primary now
        ("25006", _) => StoreError::Broken(error.into()),
        (code, _) => match &code[..2.min(code.len())] {
            // data exception, integrity constraint violation, program limit exceeded
            "22" | "23" | "54" => StoreError::Refused(error.into()),
            // insufficient resources, object not in the state needed, syntax or access
            // (not migrated, rights missing): a matter of the whole database, not of a request
            "53" | "55" | "42" => StoreError::TryAgain(error.into()),
            // connection, transaction state, shutdown, crash, all else
            _ => StoreError::Broken(error.into()),
        },
    }
}
