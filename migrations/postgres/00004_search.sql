-- +goose Up

-- Which 256 entries of the ledger hold a term, read behind it: derived, and made anew from it at any time. A term is a
-- hash of what is looked for; whoever finds a block reads its entries and compares.
CREATE TABLE ledger_terms (
    term  BIGINT NOT NULL,
    block BIGINT NOT NULL, -- sequence number / 256
    PRIMARY KEY (term, block)
);

-- The one row that says up to which entry the ledger is read.
CREATE TABLE ledger_terms_cursor (
    id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    next_seq BIGINT NOT NULL
);
INSERT INTO ledger_terms_cursor (id, next_seq) VALUES (1, 0);

-- +goose Down
DROP TABLE ledger_terms_cursor;
DROP TABLE ledger_terms;
