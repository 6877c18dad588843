-- Grants a lease that is free, reserved for the caller, or already the caller's. The answer to an
-- earlier call may have been lost, and that must not block the caller. The fence is always higher.
-- ARGV: owner, lease time, fence time (ms); then for each work order its floor.
-- Answers {'granted', fence, others waiting} or {'busy', holder}.

local me, lease_time, fence_time, at = ARGV[1], ARGV[2], ARGV[3], now()

local function higher(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local answers = {}
for i = 1, #KEYS / 3 do
  local lease, fence, waiting = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local floor = ARGV[3 + i]
  local value = redis.call('GET', lease)
  local holder = value and string.match(value, '^(.*) [^ ]*$')
  if holder and holder ~= me then
    local first, last = string.match(redis.call('HGET', waiting, me) or '', '^(%d+) (%d+)$')
    if not first or math.abs(at - tonumber(last)) > WAITS then
      first = string.format('%.0f', at)
    end
    redis.call('HSET', waiting, me, first .. ' ' .. string.format('%.0f', at))
    redis.call('PEXPIRE', waiting, WAITS)
    hint(holder, 'asked', lease)
    answers[i] = { 'busy', holder }
  else
    local last = redis.call('GET', fence)
    if not last or not string.match(last, '^%d+$') or higher(floor, last) then
      redis.call('SET', fence, floor)
    end
    redis.call('INCR', fence)
    redis.call('PEXPIRE', fence, fence_time)
    local granted = redis.call('GET', fence)
    redis.call('SET', lease, me .. ' ' .. granted, 'PX', lease_time)
    redis.call('HDEL', waiting, me)
    answers[i] = { 'granted', granted, tostring((waiters(waiting, me, at))) }
  end
end
return answers
