
-- Removes all messages.
redis.call('DEL', items)
bytes = 0
save()
return { epoch, text(top) }
