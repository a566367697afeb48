
-- Returns the newest position, and remembers its epoch.
save_changes()
return { epoch, text(top) }
