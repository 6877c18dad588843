-- Renews what is still held under the very same owner and fence. Never makes a new lease.
-- ARGV: owner; then for each work order its fence and how long (ms).
-- Answers {'renewed', others waiting} or {'lost'}.

local me, at = ARGV[1], now()

local answers = {}
for i = 1, #KEYS / 3 do
  local lease, waiting = KEYS[3 * i - 2], KEYS[3 * i]
  local fence, lease_time = ARGV[2 * i], ARGV[2 * i + 1]
  if redis.call('GET', lease) == me .. ' ' .. fence then
    redis.call('PEXPIRE', lease, lease_time)
    answers[i] = { 'renewed', tostring((waiters(waiting, me, at))) }
  else
    answers[i] = { 'lost' }
  end
end
return answers
