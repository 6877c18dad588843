-- What the scripts share. Every script takes, for each work order, three keys with one
-- hash tag (lease, fence, waiting), and answers with one list of strings for each.
--
--   lease    "<owner> <fence>", or "<owner> reserved" after a hand-over; expires
--   fence    the highest fence granted here; a week idle, the database remembers longer
--   waiting  a hash: owner -> "<first ask> <last ask>", in milliseconds; expires
--
-- Fences stay strings, digits only, all the way: as Lua numbers they would lose precision,
-- and gain an exponent from 1e14.

local WAITS = 1000 -- milliseconds that an ask stands; an asker asks again much more often

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The others whose ask stands: how many, and the one that asked first. Drops stale ones.
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

-- A hint must never fail what it hints at.
local function hint(owner, word, lease)
  redis.pcall('PUBLISH', 'scanfence:hints:' .. owner, word .. ' ' .. string.match(lease, '{(.*)}'))
end
