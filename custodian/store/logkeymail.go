package store

import (
	"context"
)

// LogKeyAsk is a node's asking for the log key. It is no part of the ledger, so that a node can ask which cannot write to
// it, and it is signed by the node, whoever put it there.
type LogKeyAsk struct {
	Node    string
	Lacking bool   // it cannot write until it is answered
	Ask     []byte // signed call for the keys of the instance
	Answer  []byte // signed and sealed; nil while nobody answered
}

// TableName implements gorm's Tabler.
func (LogKeyAsk) TableName() string { return "log_key_mail" }

// AskLogKey puts a node's asking in the place of its earlier one, and takes the answer to that away.
func (s *Store) AskLogKey(ctx context.Context, node string, lacking bool, ask []byte) error {
	n := 0
	if lacking {
		n = 1
	}
	err := s.db.gorm.WithContext(ctx).Exec("INSERT INTO log_key_mail (node, lacking, ask) VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE"+
		" SET lacking = excluded.lacking, ask = excluded.ask, answer = NULL", node, n, ask).Error
	if err != nil {
		return unavailable("asking for the log key", err)
	}
	return nil
}

// LogKeyAsks are what nodes ask, in the order of their ids.
func (s *Store) LogKeyAsks(ctx context.Context) ([]LogKeyAsk, error) {
	rows, err := s.db.gorm.WithContext(ctx).Raw("SELECT node, lacking, ask, answer FROM log_key_mail ORDER BY node LIMIT 256").Rows()
	if err != nil {
		return nil, unavailable("reading who asks for the log key", err)
	}
	defer rows.Close()
	var out []LogKeyAsk
	for rows.Next() {
		var a LogKeyAsk
		var lacking int
		if err := rows.Scan(&a.Node, &lacking, &a.Ask, &a.Answer); err != nil {
			return nil, unavailable("reading who asks for the log key", err)
		}
		a.Lacking = lacking != 0
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable("reading who asks for the log key", err)
	}
	return out, nil
}

// AnswerLogKey puts an answer to what a node asked; one that it has since asked anew gets none.
func (s *Store) AnswerLogKey(ctx context.Context, node string, ask, answer []byte) error {
	if err := s.db.gorm.WithContext(ctx).Exec("UPDATE log_key_mail SET answer = ? WHERE node = ? AND ask = ?", answer, node, ask).Error; err != nil {
		return unavailable("answering with the log key", err)
	}
	return nil
}
