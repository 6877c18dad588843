-- the changes of claims
claim_changes as not materialized (
    select unnest($48::text[]) as change, unnest($49::text[]) as work_order, unnest($50::text[]) as counter,
           unnest($51::text[]) as step, unnest($52::text[]) as barcode, unnest($53::bigint[]) as ordinal,
           unnest($54::text[]) as request_id, unnest($55::bigint[]) as quantity
)
