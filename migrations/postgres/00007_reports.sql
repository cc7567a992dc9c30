-- +goose Up

-- Reports that are asked for, being made, or made and kept for a while. The log key signs what was asked (seal) and what
-- became of it (result_seal).
CREATE TABLE report_jobs (
    id              TEXT NOT NULL PRIMARY KEY,
    owner           TEXT NOT NULL,
    format          TEXT NOT NULL,
    request         BYTEA NOT NULL,
    created_at      BIGINT NOT NULL,
    seal            BYTEA NOT NULL,
    state           TEXT NOT NULL,
    claim           TEXT NOT NULL, -- of the attempt under way, or of the one that made it: names the chunks
    tries           BIGINT NOT NULL,
    stage           TEXT NOT NULL,
    read_entries    BIGINT NOT NULL,
    of_entries      BIGINT NOT NULL,
    checkpoint_size BIGINT NOT NULL,
    bytes           BIGINT NOT NULL,
    sha256          TEXT NOT NULL,
    error           TEXT NOT NULL,
    ended_at        BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    result_seal     BYTEA NOT NULL
);

-- The content of finished reports. What no job names any more is deleted, a few rows at a time.
CREATE TABLE report_chunks (
    claim TEXT NOT NULL,
    idx   BIGINT NOT NULL,
    body  BYTEA NOT NULL,
    PRIMARY KEY (claim, idx)
);
-- Most formats are compressed; trying again would only cost time.
ALTER TABLE report_chunks ALTER COLUMN body SET STORAGE EXTERNAL;

-- +goose Down
DROP TABLE report_chunks;
DROP TABLE report_jobs;
