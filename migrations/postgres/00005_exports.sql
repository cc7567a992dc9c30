-- +goose Up

-- Up to which entry the ledger was delivered to a target outside, and acknowledged by it.
CREATE TABLE export_cursors (
    target   TEXT NOT NULL PRIMARY KEY,
    next_seq BIGINT NOT NULL
);

-- +goose Down
DROP TABLE export_cursors;
