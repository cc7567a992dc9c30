-- +goose Up

-- Checkpoints that witnesses signed, with their cosignatures (C2SP tlog-cosignature); what each witness saw last is the
-- largest that bears its signature.
CREATE TABLE ledger_cosigned (
    size    INTEGER NOT NULL,
    witness TEXT NOT NULL,
    note    BLOB NOT NULL,
    PRIMARY KEY (size, witness)
);
CREATE INDEX ix_cosigned_witness ON ledger_cosigned (witness, size);

-- RFC 3161 time-stamps of checkpoints.
CREATE TABLE ledger_timestamps (
    size  INTEGER NOT NULL PRIMARY KEY,
    note  BLOB NOT NULL,
    token BLOB NOT NULL
);

-- +goose Down
DROP TABLE ledger_timestamps;
DROP TABLE ledger_cosigned;
