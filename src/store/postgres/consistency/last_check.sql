-- The last check of the ranges $1 that has started; if $2, the last good one. A start in the
-- future was written before the clock was set back: such a check does not count.
select row_to_json(c)::text
from consistency_checks c
where c.range = any ($1) and (not $2 or c.state = 'good')
  and c.started_at <= clock_timestamp() + interval '60 seconds'
order by c.started_at desc, c.check_id desc
limit 1
