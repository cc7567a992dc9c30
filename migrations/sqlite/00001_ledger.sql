-- +goose Up

-- One row a commit and plane: entries of one batch, C2SP tlog-tiles bundle framing.
CREATE TABLE ledger_batches (
    first_seq INTEGER NOT NULL PRIMARY KEY,
    count     INTEGER NOT NULL CHECK (count > 0),
    control   INTEGER NOT NULL CHECK (control IN (0, 1)),
    body      BLOB NOT NULL
);
CREATE INDEX ix_batches_control ON ledger_batches (first_seq) WHERE control = 1;

-- Full tiles of height 8; partial ones are rebuilt from the batches.
CREATE TABLE ledger_tiles (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    body  BLOB NOT NULL,
    PRIMARY KEY (level, idx)
);

-- The one row whose lock orders all commits.
CREATE TABLE ledger_head (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size          INTEGER NOT NULL,
    root          BLOB NOT NULL,
    epoch         INTEGER NOT NULL,
    control_count INTEGER NOT NULL,
    control_last  INTEGER NOT NULL,
    note          BLOB NOT NULL
);

-- Signed checkpoints kept for consistency proofs: one at most a second, and one with every control commit.
-- Times here and below are microseconds since 1970 UTC.
CREATE TABLE ledger_checkpoints (
    size INTEGER NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL,
    note BLOB NOT NULL
);

-- Projection of the control-plane entries: what each row's last entry committed to.
CREATE TABLE authority_rows (
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    revision INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (kind, id)
);

-- +goose Down
DROP TABLE authority_rows;
DROP TABLE ledger_checkpoints;
DROP TABLE ledger_head;
DROP TABLE ledger_tiles;
DROP TABLE ledger_batches;
