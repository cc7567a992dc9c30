-- +goose Up

-- What was done with each key version, by day, read behind the ledger: derived, and made anew from it at any time.
CREATE TABLE key_usage (
    day       INTEGER NOT NULL, -- since 1970-01-01 UTC
    key       TEXT NOT NULL,
    version   INTEGER NOT NULL,
    actor     TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome   TEXT NOT NULL,
    origin    TEXT NOT NULL,
    uses      INTEGER NOT NULL,
    first_at  INTEGER NOT NULL, -- microseconds since 1970 UTC
    last_at   INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    PRIMARY KEY (key, version, day, actor, operation, outcome, origin)
);

-- The one row that says up to which entry the ledger is read.
CREATE TABLE key_usage_cursor (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    next_seq INTEGER NOT NULL
);
INSERT INTO key_usage_cursor (id, next_seq) VALUES (1, 0);

-- +goose Down
DROP TABLE key_usage_cursor;
DROP TABLE key_usage;
