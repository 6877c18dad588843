-- Only the columns that counting once needs, and the work orders of lean.sql.
-- Storage as in Scanfence's own migrations: half-empty pages keep each update on its page.
create table work_orders (
    work_order          text collate "C" primary key,
    planned_quantity    bigint not null,
    over_plan_allowance bigint,
    input_quantity      bigint not null default 0,
    output_quantity     bigint not null default 0,
    scrap_quantity      bigint not null default 0,
    seq                 bigint not null default 0,
    updated_at          timestamptz not null default now()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);

create table update_log (
    request_id          text collate "C" primary key,
    work_order          text collate "C" not null,
    seq                 bigint not null,
    counter             text not null,
    delta               bigint not null,
    before              bigint not null,
    after               bigint not null,
    barcode             text,
    step                text not null,
    terminal            text,
    operator            text,
    recorded_at         timestamptz not null default now(),
    unique (work_order, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);

insert into work_orders (work_order, planned_quantity)
select 'W' || number, 1000000000 from generate_series(1, :work_orders) number;
