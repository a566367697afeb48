-- The tables of version 1. Numbers of 64 bits without a sign are stored with one.
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    -- Combined with the epoch of each stream; another one renews all of them.
    salt INTEGER NOT NULL,
    -- The epoch of streams to which nothing was appended.
    unused INTEGER NOT NULL,
    -- The boot of the host whose writes may not have reached the disk; NULL if all have.
    dirty TEXT,
    -- The number of the file: a copy of the file has another one.
    inode INTEGER NOT NULL
) STRICT;

CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    -- The oldest message that is kept, or the next one.
    first INTEGER NOT NULL,
    top INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    retention_ms INTEGER NOT NULL,
    -- The time of the last append.
    last_ms INTEGER NOT NULL,
    -- When something of the stream expires, at the earliest.
    due_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX streams_by_due ON streams (due_ms);

CREATE TABLE items (
    stream INTEGER NOT NULL,
    number INTEGER NOT NULL,
    appended_ms INTEGER NOT NULL,
    metadata BLOB NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (stream, number)
) STRICT, WITHOUT ROWID;

-- The ids ascend with time, so that the oldest keys are found without a further index.
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    key BLOB NOT NULL,
    number INTEGER NOT NULL,
    used_ms INTEGER NOT NULL,
    UNIQUE (stream, key)
) STRICT;
