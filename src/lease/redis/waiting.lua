-- What the scripts share. For each work order, every script takes three keys with one hash tag
-- (lease, fence, waiting) and answers with one list of strings.
--
--   lease    "<owner> <fence>", or "<owner> reserved" after a hand-over; expires
--   fence    the highest fence granted here; expires a week after the last grant
--   waiting  a hash: owner -> "<first ask> <last ask>", in milliseconds; expires
--
-- Fences are always strings of digits. As Lua numbers they would lose precision, and get an
-- exponent from 1e14.

local WAITS = 1000 -- milliseconds for which a request is valid; a waiting replica asks much more often

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The others whose request is valid: how many, and the one that asked first. Drops stale ones.
local function waiters(key, me, at)
  local count, first, first_at = 0, nil, nil
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local asked, last = string.match(all[i + 1], '^(%d+) (%d+)$')
    if not asked or math.abs(at - tonumber(last)) > WAITS then
      redis.call('HDEL', key, all[i])
    elseif all[i] ~= me then
      count = count + 1
      if not first or tonumber(asked) < first_at then
        first, first_at = all[i], tonumber(asked)
      end
    end
  end
  return count, first
end

-- `pcall`: if a hint fails, the script must go on.
local function hint(owner, word, lease)
  redis.pcall('PUBLISH', 'scanfence:hints:' .. owner, word .. ' ' .. string.match(lease, '{(.*)}'))
end
