-- +goose Up

-- Answers already given to unsafe calls that carried an Idempotency-Key.
CREATE TABLE idempotency (
    principal    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    status       INTEGER NOT NULL,
    body         BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX ix_idem_created ON idempotency (created_at);

-- Which replica runs a background job, and until when.
CREATE TABLE job_leases (
    name       TEXT NOT NULL PRIMARY KEY,
    holder     TEXT NOT NULL,
    until_time INTEGER NOT NULL
);

-- +goose Down
DROP TABLE job_leases;
DROP TABLE idempotency;
