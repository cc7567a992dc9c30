-- +goose Up

-- Which blocks of 256 entries of the ledger hold a term, 64 blocks a row, read behind it: derived, and made anew from it at
-- any time. A term is a hash of what is looked for; whoever finds a block reads its entries and compares. What is written
-- lately lies together, so that it costs little to write.
DROP TABLE ledger_terms;
CREATE TABLE ledger_terms (
    span   BIGINT NOT NULL, -- sequence number / 16384
    term   BIGINT NOT NULL,
    blocks BIGINT NOT NULL, -- 64 bits, the lowest for the first block
    PRIMARY KEY (span, term)
);
UPDATE ledger_terms_cursor SET next_seq = 0;

-- +goose Down
DROP TABLE ledger_terms;
CREATE TABLE ledger_terms (
    term  BIGINT NOT NULL,
    block BIGINT NOT NULL, -- sequence number / 256
    PRIMARY KEY (term, block)
);
UPDATE ledger_terms_cursor SET next_seq = 0;
