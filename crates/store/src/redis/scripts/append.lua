
-- Appends a message.
-- ARGV: 8 the idempotency key, 9 its lifetime, 10 payload, 11 metadata, 12 size, 13 ttl, 14 bytes,
-- 15 retention, 16 whether the stream gets a new epoch.
local lifetime = tonumber(ARGV[9])
local known = redis.call('HGET', KEYS[3], ARGV[8]) or redis.call('HGET', KEYS[4], ARGV[8])
if known then
    save_changes()
    return { epoch, known, '1' }
end
if ARGV[16] == '1' then
    epoch = ARGV[3]
end
if since + lifetime <= now then
    current, since = 1 - current, now
    redis.call('DEL', KEYS[3 + current])
end
top, last, ttl = top + 1, now, tonumber(ARGV[13])
retention = tonumber(ARGV[15])
redis.call('XADD', items, text(top) .. '-0', 't', text(now), 'd', ARGV[10], 'a', ARGV[11])
bytes = bytes + #ARGV[10] + #ARGV[11]
redis.call('HSET', KEYS[3 + current], ARGV[8], text(top))
redis.call('PEXPIRE', KEYS[3 + current], text(2 * lifetime))
trim(tonumber(ARGV[12]), tonumber(ARGV[14]), top)
redis.call('PEXPIRE', items, text(ttl))
save()
return { epoch, text(top), '0' }
