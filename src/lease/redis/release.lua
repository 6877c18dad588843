-- Releases what is held under the very same owner and fence. If others wait, the one that waits
-- longest gets it, reserved for a moment.
-- ARGV: owner, reservation time (ms); then for each work order its fence.
-- Answers {'handed over', to}, {'released'} or {'gone'}.

local me, reserved, at = ARGV[1], ARGV[2], now()

local answers = {}
for i = 1, #KEYS / 3 do
  local lease, waiting = KEYS[3 * i - 2], KEYS[3 * i]
  if redis.call('GET', lease) ~= me .. ' ' .. ARGV[2 + i] then
    answers[i] = { 'gone' }
  else
    local _, first = waiters(waiting, me, at)
    if first then
      redis.call('SET', lease, first .. ' reserved', 'PX', reserved)
      redis.call('HDEL', waiting, first)
      hint(first, 'freed', lease)
      answers[i] = { 'handed over', first }
    else
      redis.call('DEL', lease)
      answers[i] = { 'released' }
    end
  end
end
return answers
