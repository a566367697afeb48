-- Begins every script: the state of a stream.
--
-- KEYS: 1 the hash of the stream, 2 its messages, 3 and 4 its idempotency keys, of which one is in
-- use and the other one was before.
-- ARGV: 1 the instance of the server, 2 the time after which nothing is done, 3 an epoch for a
-- stream that needs one, 4 and 5 the newest position that the caller knows, 6 epochs that were
-- replaced, 7 the time for which the stream is remembered while it has no message.
local meta, items = KEYS[1], KEYS[2]

local function text(number)
    return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(ARGV[2]) < now then
    return redis.error_reply('LATE its caller has given up')
end

local fields = redis.call('HMGET', meta, 'e', 's', 'r', 'b', 'l', 't', 'n', 'c', 'g')
local epoch, server = fields[1], fields[3]
local top, bytes = tonumber(fields[2] or 0), tonumber(fields[4] or 0)
local last, ttl = tonumber(fields[5] or 0), tonumber(fields[6] or 0)
local retention = tonumber(fields[7] or ARGV[7])
local current, since = tonumber(fields[8] or 0), tonumber(fields[9] or 0)
if not epoch then
    -- Rests of a stream whose hash was evicted.
    redis.call('DEL', items, KEYS[3], KEYS[4])
    top, bytes, since = 0, 0, now
end
-- Another server, or this one after a resynchronization, may lack the newest messages; so does one
-- that has fewer than were seen. Offsets continue, in another epoch.
if not epoch or server ~= ARGV[1] or string.find(ARGV[6], epoch, 1, true)
    or (epoch == ARGV[4] and top < tonumber(ARGV[5])) then
    epoch = ARGV[3]
end
now = math.max(now, last)

local function save()
    redis.call('HSET', meta, 'e', epoch, 's', text(top), 'r', ARGV[1], 'b', text(bytes),
        'l', text(last), 't', text(ttl), 'n', text(retention), 'c', current, 'g', text(since))
    redis.call('PEXPIRE', meta, text(retention))
end

-- The same if there is something to write: reads go on while no memory is left.
local function save_changes()
    if epoch ~= fields[1] or text(bytes) ~= fields[4] then
        save()
    else
        redis.call('PEXPIRE', meta, text(retention))
    end
end

-- Removes what exceeds the limits, oldest first, but no message from `keep` on. Returns the oldest
-- offset. A call removes a thousand messages at most.
local function trim(size, max_bytes, keep)
    local first, count, removed = nil, 1, 0
    while removed < 1000 do
        local rows = redis.call('XRANGE', items, '-', '+', 'COUNT', count)
        if #rows == 0 then
            bytes = 0
            return top + 1
        end
        local drop = {}
        for _, row in ipairs(rows) do
            first = tonumber(string.match(row[1], '^%d+'))
            local needless = size < top - first + 1 or max_bytes < bytes
                or tonumber(row[2][2]) + ttl <= now
            if not needless or keep <= first then
                break
            end
            bytes = bytes - #row[2][4] - #row[2][6]
            drop[#drop + 1] = row[1]
            first = nil
        end
        if 0 < #drop then
            redis.call('XDEL', items, unpack(drop))
            removed = removed + #drop
        end
        if first then
            return first
        end
        count = 16
    end
    local rows = redis.call('XRANGE', items, '-', '+', 'COUNT', 1)
    return rows[1] and tonumber(string.match(rows[1][1], '^%d+')) or top + 1
end
