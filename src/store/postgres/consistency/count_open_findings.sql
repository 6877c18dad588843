-- How many findings are open.
select count(*) from consistency_findings where state = 'open'
