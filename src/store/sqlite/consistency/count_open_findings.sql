-- How many findings are open.
select json_quote(count(*)) from consistency_findings where state = 'open'
