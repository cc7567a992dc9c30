-- +goose Up

-- Where nodes ask each other for the log key, and are answered, sealed to the process that asks. Nothing here is trusted:
-- what stands in it is signed by node keys, and whoever takes it away holds up a node at most.
CREATE TABLE log_key_mail (
    node    TEXT NOT NULL PRIMARY KEY,
    lacking INTEGER NOT NULL,
    ask     BLOB NOT NULL,
    answer  BLOB
);

-- +goose Down
DROP TABLE log_key_mail;
