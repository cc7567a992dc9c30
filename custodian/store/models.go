package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// rowModel is one row of authority_rows.
type rowModel struct {
	Kind     string `gorm:"primaryKey"`
	ID       string `gorm:"primaryKey"`
	Revision number
	Seq      number
	Body     []byte
}

// TableName implements gorm's Tabler.
func (rowModel) TableName() string { return "authority_rows" }

// number is a stored count or position. Whatever else somebody wrote into its column reads as notANumber, which
// nothing in a ledger equals, so that the edit is found as one: an error here would look like a database that
// does not answer, and end the sweep before it has seen the rest.
type number uint64

const notANumber = ^number(0)

// Scan implements [sql.Scanner].
func (n *number) Scan(src any) error {
	*n = notANumber
	if v, ok := src.(int64); ok && v >= 0 {
		*n = number(v)
	}
	return nil
}

// Value implements [driver.Valuer].
func (n number) Value() (driver.Value, error) {
	if n > 1<<63-1 {
		return nil, fmt.Errorf("number %d does not fit the database", uint64(n))
	}
	return int64(n), nil
}

// eachRow walks all authority rows.
func (d *database) eachRow(ctx context.Context, tx *sql.Tx, fn func(*rowModel) error) error {
	g := d.session(ctx, tx)
	rows, err := g.Model(&rowModel{}).Rows()
	if err != nil {
		return unavailable("reading authority rows", err)
	}
	defer rows.Close()
	for rows.Next() {
		m := &rowModel{}
		if err := g.ScanRows(rows, m); err != nil {
			return unavailable("reading authority rows", err)
		}
		if err := fn(m); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable("reading authority rows", err)
	}
	return nil
}

// readRow returns one authority row, nil where there is none.
func readRow(g *gorm.DB, k rowKey) (*rowModel, error) {
	var found []rowModel
	if err := g.Where("kind = ? AND id = ?", string(k.kind), k.id).Limit(1).Find(&found).Error; err != nil {
		return nil, unavailable("reading authority row", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// writeRow stores a row's new state, or removes it.
func writeRow(g *gorm.DB, row *Row) error {
	var err error
	if row.deleted() {
		err = g.Where("kind = ? AND id = ?", string(row.Kind), row.ID).Delete(&rowModel{}).Error
	} else {
		m := &rowModel{Kind: string(row.Kind), ID: row.ID, Revision: number(row.Revision), Seq: number(row.Seq), Body: row.Body}
		err = g.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "kind"}, {Name: "id"}},
			DoUpdates: clause.AssignmentColumns([]string{"revision", "seq", "body"}),
		}).Create(m).Error
	}
	if err != nil {
		return fmt.Errorf("writing %s %q: %w", row.Kind, row.ID, err)
	}
	return nil
}
