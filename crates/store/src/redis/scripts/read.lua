
-- Reads messages.
-- ARGV: 8 the offset to begin with, 9 `+` towards the newest or `-` towards the oldest, 10 the most
-- messages, 11 the most bytes, 12 the epoch in which something is read, or nothing for any, 13 `1`
-- if nothing is read unless it is all.
local first = trim(math.huge, math.huge, math.huge)
save_changes()
local found, from, left = {}, tonumber(ARGV[8]), tonumber(ARGV[10])
local max_bytes, weight = tonumber(ARGV[11]), 0
local forwards = ARGV[9] == '+'
if (ARGV[12] ~= '' and ARGV[12] ~= epoch) or (ARGV[13] == '1' and from + left <= top) then
    left = 0
end
from = forwards and math.max(from, first) or math.min(from, top)
while 0 < left and first <= from and from <= top and weight <= max_bytes do
    local count = math.min(left, 64)
    local rows
    if forwards then
        rows = redis.call('XRANGE', items, text(from), '+', 'COUNT', count)
    else
        rows = redis.call('XREVRANGE', items, text(from), '-', 'COUNT', count)
    end
    if #rows == 0 then
        break
    end
    for _, row in ipairs(rows) do
        local fields = row[2]
        local offset = string.match(row[1], '^%d+')
        from = tonumber(offset) + (forwards and 1 or -1)
        found[#found + 1] = { offset, fields[2], fields[4], fields[6] }
        weight = weight + #fields[4] + #fields[6]
        if max_bytes < weight then
            -- The one that exceeds the limit tells that there is more.
            if #found < 2 and ARGV[13] ~= '1' then
                max_bytes = weight
            else
                break
            end
        end
    end
    left = left - #rows
end
return { epoch, text(top), text(first), found }
