-- +goose Up

-- Answers already given to unsafe calls that carried an Idempotency-Key.
CREATE TABLE idempotency (
    principal    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    status       BIGINT NOT NULL,
    body         BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX ix_idem_created ON idempotency (created_at);

-- Which replica runs a background job, and until when.
CREATE TABLE job_leases (
    name       TEXT NOT NULL PRIMARY KEY,
    holder     TEXT NOT NULL,
    until_time BIGINT NOT NULL
);

-- +goose Down
DROP TABLE job_leases;
DROP TABLE idempotency;
