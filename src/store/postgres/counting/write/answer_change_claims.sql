union all
-- read so that it is evaluated
select 'as_loaded', as_loaded.one::text from as_loaded
