"""The Lua scripts: each is one step that must not be seen half-done."""

from __future__ import annotations

__all__ = ["CLAIM", "MARK_COMMITTED", "MARK_DEAD", "MARK_WRITTEN", "PUBLISH", "RECORD_SEND", "RELEASE", "RENEW"]

CLAIM = """
-- KEYS lease sent claims claimed · ARGV value ttl_ms unit stage queue sequence
-- The highest sequence rises whatever becomes of this message: older ones on its queue have been taken.
local top = tonumber(redis.call('HGET', KEYS[4], ARGV[5]) or '-1')
if tonumber(ARGV[6]) > top then redis.call('HSET', KEYS[4], ARGV[5], ARGV[6]) end
local sent = redis.call('HGET', KEYS[2], ARGV[3])
if sent then
  local s = cjson.decode(sent)
  if s.stage ~= ARGV[4] or s.queue ~= ARGV[5] or s.sequence ~= tonumber(ARGV[6]) then return -1 end
end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[1])
return 1
"""
"""1 claimed, 0 a living lease holds the unit, -1 a newer message replaced this one."""

RENEW = """
-- KEYS lease claims · ARGV value ttl_ms unit
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if holder then return 0 end
-- Nobody holds it: Redis lost its memory, or this worker was silent for too long and nobody has taken over yet.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[1])
return 1
"""
"""1 still or again held, 0 held by another."""

RELEASE = """
-- KEYS lease sent claims · ARGV value unit queue sequence forget
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if redis.call('HGET', KEYS[3], ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[3], ARGV[2])
if ARGV[5] == '1' then
  local sent = redis.call('HGET', KEYS[2], ARGV[2])
  if sent then
    local s = cjson.decode(sent)
    if s.queue == ARGV[3] and s.sequence == tonumber(ARGV[4]) then redis.call('HDEL', KEYS[2], ARGV[2]) end
  end
end
return 1
"""
"""Only the owner's lease is deleted; with ``forget`` the unit counts as not sent: the feeder sends it at once."""

RECORD_SEND = """
-- KEYS sequences sent sends job · ARGV unit stage queue now
-- A queue's sequence begins at the clock, so that it rises even across a loss of memory.
if redis.call('HEXISTS', KEYS[1], ARGV[3]) == 0 then
  redis.call('HSET', KEYS[1], ARGV[3], string.format('%.0f', math.floor(tonumber(ARGV[4]) * 1000)))
end
local sequence = redis.call('HINCRBY', KEYS[1], ARGV[3], 1)
redis.call('HSET', KEYS[2], ARGV[1], string.format('{"stage":"%s","queue":"%s","sequence":%.0f,"at":%s}',
  ARGV[2], ARGV[3], sequence, ARGV[4]))
redis.call('HINCRBY', KEYS[4], 'sends', 1)
local times = redis.call('HINCRBY', KEYS[3], ARGV[2] .. ':' .. ARGV[1], 1)
if times > 1 then redis.call('HINCRBY', KEYS[4], 'resends', 1) end
if tonumber(ARGV[1]) >= tonumber(redis.call('HGET', KEYS[4], 'frontier') or '0') then
  redis.call('HSET', KEYS[4], 'frontier', tonumber(ARGV[1]) + 1)
end
return sequence
"""

_GUARD = """
-- Not seeded: the feeder has not rebuilt this job's counters yet, and will find the unit in the store when it does.
if redis.call('HEXISTS', KEYS[1], 'seeded') == 0 then return -1 end
if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], 'watermark')) then return 0 end
"""

MARK_COMMITTED = (
    "-- KEYS job committed dead · ARGV unit offset captions images empty bytes\n"
    + _GUARD
    + """
if redis.call('SETBIT', KEYS[2], ARGV[2], 1) == 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'committed', 1)
redis.call('HINCRBY', KEYS[1], 'captions', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'images', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'empty', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'bytes', ARGV[6])
-- A commit outranks a dead letter.
if redis.call('SETBIT', KEYS[3], ARGV[2], 0) == 1 then redis.call('HINCRBY', KEYS[1], 'dead', -1) end
return 1
"""
)

MARK_DEAD = (
    "-- KEYS job committed dead · ARGV unit offset\n"
    + _GUARD
    + """
if redis.call('GETBIT', KEYS[2], ARGV[2]) == 1 then return 0 end
if redis.call('SETBIT', KEYS[3], ARGV[2], 1) == 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'dead', 1)
return 1
"""
)

MARK_WRITTEN = (
    "-- KEYS job written · ARGV unit offset written draws [reason count]...\n"
    + _GUARD
    + """
if redis.call('SETBIT', KEYS[2], ARGV[2], 1) == 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'written', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'draws', ARGV[4])
for i = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], 'rejected:' .. ARGV[i], ARGV[i + 1]) end
return 1
"""
)

PUBLISH = """
-- KEYS epoch stream · ARGV type at data cap candidate_epoch
redis.call('SET', KEYS[1], ARGV[5], 'NX')
local epoch = redis.call('GET', KEYS[1])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local sequence = 1
if #last > 0 then sequence = tonumber(string.match(last[1][1], '^(%d+)')) + 1 end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], string.format('%.0f-0', sequence),
  'epoch', epoch, 'type', ARGV[1], 'at', ARGV[2], 'data', ARGV[3])
return {epoch, sequence}
"""
