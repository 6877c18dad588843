-- the rows of work orders, in the order in which they are locked
offered as not materialized (
    select unnest($3::text[]) as work_order, unnest($4::bigint[]) as loaded, unnest($5::bigint[]) as authority_fence,
           unnest($6::text[]) as fence_owner, unnest($7::text[]) as status, unnest($8::bigint[]) as input_quantity,
           unnest($9::bigint[]) as output_quantity, unnest($10::bigint[]) as scrap_quantity, unnest($11::bigint[]) as seq,
           unnest($12::bigint[]) as fence, unnest($13::bigint[]) as stamp, unnest($14::boolean[]) as barcode_counted,
           unnest($15::timestamptz[]) as updated_at
)
