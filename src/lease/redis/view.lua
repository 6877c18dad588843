-- Who holds a lease. Answers {owner, fence, time left (ms)}, or {} if nobody does.

local answers = {}
for i = 1, #KEYS / 3 do
  local lease = KEYS[3 * i - 2]
  local value = redis.call('GET', lease)
  local holder, fence = string.match(value or '', '^(.*) (%d+)$')
  if holder then
    answers[i] = { holder, fence, string.format('%.0f', redis.call('PTTL', lease)) }
  else
    answers[i] = {}
  end
end
return answers
