-- +goose Up

-- Reports that are asked for, being made, or made and kept for a while. The log key signs what was asked (seal) and what
-- became of it (result_seal).
CREATE TABLE report_jobs (
    id              TEXT NOT NULL PRIMARY KEY,
    owner           TEXT NOT NULL,
    format          TEXT NOT NULL,
    request         BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    seal            BLOB NOT NULL,
    state           TEXT NOT NULL,
    claim           TEXT NOT NULL, -- of the attempt under way, or of the one that made it: names the chunks
    tries           INTEGER NOT NULL,
    stage           TEXT NOT NULL,
    read_entries    INTEGER NOT NULL,
    of_entries      INTEGER NOT NULL,
    checkpoint_size INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    sha256          TEXT NOT NULL,
    error           TEXT NOT NULL,
    ended_at        INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    result_seal     BLOB NOT NULL
);

-- The content of finished reports. What no job names any more is deleted, a few rows at a time.
CREATE TABLE report_chunks (
    claim TEXT NOT NULL,
    idx   INTEGER NOT NULL,
    body  BLOB NOT NULL,
    PRIMARY KEY (claim, idx)
);

-- +goose Down
DROP TABLE report_chunks;
DROP TABLE report_jobs;
