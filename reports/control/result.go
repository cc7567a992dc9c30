package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"conclave/custodian/amount"
)

// Evaluator judges one control. It is pure: time is Evidence.Now, and nothing is read but the evidence.
type Evaluator func(ctx context.Context, ev *Evidence) Result

// Result is the judgement of one control.
type Result struct {
	Verdict  Verdict `json:"verdict"`
	Summary  string  `json:"summary"`            // one or two sentences: why this verdict
	Question string  `json:"question,omitempty"` // what a person is asked, where a program cannot judge
	Tables   []Table `json:"tables,omitempty"`
}

// ColumnType says how to read the cells of a column.
type ColumnType string

const (
	Text    ColumnType = "text"
	ID      ColumnType = "id"      // id of an authority row or a ceremony
	Integer ColumnType = "integer" // decimal
	Instant ColumnType = "time"    // RFC 3339, UTC; "" for never
)

// Column is one column of a table.
type Column struct {
	Name string     `json:"name"`
	Type ColumnType `json:"type"`
}

// Row is one thing that was looked at. Cells are in the order of the table's columns.
type Row struct {
	Cells []string `json:"cells"`
	State State    `json:"state"`
	Why   string   `json:"why,omitempty"` // what is wrong, or what is to be known
	// Ledger lists the sequence numbers of the entries that prove the row, ascending.
	Ledger []uint64 `json:"ledger"`
	// Rows names the authority rows that it was read from.
	Rows []Ref `json:"rows,omitempty"`
}

// Bounds of the rows that one table keeps of each state (ours); all are counted. A report shows some that prove a verdict,
// a register is of use only if it has all.
const (
	maxRows     = 500
	maxListRows = 50_000
)

// Table is a list of rows of one kind.
type Table struct {
	Title   string   `json:"title"`
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
	// Counts of all rows looked at, also of those that are not listed.
	Total     int `json:"total"`
	Violating int `json:"violating"`
	Attention int `json:"attention"`

	kept map[State]int
	most int // 0: maxRows
}

// NewTable starts a table.
func NewTable(title string, columns ...Column) *Table {
	return &Table{Title: title, Columns: columns, Rows: []Row{}, kept: map[State]int{}}
}

// Whole has a table keep all its rows, within the bound of a register.
func (t *Table) Whole() *Table {
	t.most = maxListRows
	return t
}

// Proof is what proves one row: authority rows, and ledger entries beside those that wrote them.
type Proof struct {
	Rows   []Ref
	Ledger []uint64
}

// Proves is the proof that rows give by themselves.
func Proves(rows ...Ref) Proof { return Proof{Rows: rows} }

// And adds ledger entries to a proof.
func (p Proof) And(seqs ...uint64) Proof {
	return Proof{Rows: p.Rows, Ledger: append(slices.Clone(p.Ledger), seqs...)}
}

// Add judges one row: without faults it has the state given, with faults it is violating.
func (t *Table) Add(state State, faults Faults, proof Proof, cells ...string) {
	row := Row{Cells: cells, State: state, Why: faults.String(), Ledger: proof.sequences(), Rows: proof.Rows}
	if len(faults) > 0 {
		row.State = Violating
	}
	t.add(row)
}

// Note adds a row with a remark that is not a fault.
func (t *Table) Note(state State, remark string, proof Proof, cells ...string) {
	t.add(Row{Cells: cells, State: state, Why: remark, Ledger: proof.sequences(), Rows: proof.Rows})
}

// AddRow adds a row as it is.
func (t *Table) AddRow(row Row) { t.add(row) }

func (t *Table) add(row Row) {
	t.Total++
	switch row.State {
	case Violating:
		t.Violating++
	case Attention:
		t.Attention++
	}
	if t.kept[row.State]++; t.kept[row.State] <= cmp.Or(t.most, maxRows) {
		t.Rows = append(t.Rows, row)
	}
}

func (p Proof) sequences() []uint64 {
	seqs := slices.Clone(p.Ledger)
	for _, r := range p.Rows {
		seqs = append(seqs, r.Seq)
	}
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	if seqs == nil {
		return []uint64{}
	}
	return seqs
}

// Omitted is the number of rows that were counted but are not listed.
func (t Table) Omitted() int { return t.Total - len(t.Rows) }

// Faults collects what is wrong with one row.
type Faults []string

// Check adds a fault unless good.
func (f *Faults) Check(good bool, fault string) {
	if !good {
		*f = append(*f, fault)
	}
}

func (f Faults) String() string {
	out := ""
	for i, s := range f {
		if i > 0 {
			out += "; "
		}
		out += s
	}
	return out
}

// Finding is what an evaluator concludes from.
type Finding struct {
	Tables   []*Table
	Good     string // summary when nothing is wrong
	Open     string // summary when nothing is wrong, and rows are for a person to judge; "" says how many
	Holds    bool   // Good is true whatever a person decides about such rows, and is the summary then as well
	Bad      string // summary when rows are violating
	Empty    string // summary when there are no rows
	Question string // asked always
	Doubt    string // asked when a row needs attention
	// Unseen is how many entries could not be looked at one by one (see Events.Dropped): such a result is
	// never satisfied.
	Unseen int
	// Unread is how many batches of uses are on record by their digest only (see Events.UnreadBatches).
	Unread int
}

// Conclude gives the verdict that the rows allow: violated before needs a human before satisfied, and no
// evidence where no row was looked at. Rows that are only context do not count as evidence.
func Conclude(f Finding) Result {
	var r Result
	judged, violating, attention := 0, 0, 0
	for _, t := range f.Tables {
		slices.SortStableFunc(t.Rows, func(a, b Row) int { return a.State.severity() - b.State.severity() })
		if t.Total > 0 {
			r.Tables = append(r.Tables, *t)
		}
		violating += t.Violating
		attention += t.Attention
		judged += t.judged()
	}
	r.Question = f.Question
	if attention > 0 && f.Doubt != "" {
		r.Question = join(r.Question, f.Doubt)
	}
	if f.Unseen > 0 {
		r.Question = join(r.Question, fmt.Sprintf("The period has %s than this report reads one by one. What do reports over shorter periods say?", amount.Of(f.Unseen, "more entry")))
	}
	if f.Unread > 0 {
		r.Question = join(r.Question, fmt.Sprintf("Large batches of protecting calls that are on record by the digest of their list only: %d. Which key versions did they use, and when?", f.Unread))
	}
	switch {
	case violating > 0:
		r.Verdict, r.Summary = Violated, f.Bad
	case judged == 0:
		r.Verdict, r.Summary = NoEvidence, f.Empty
	case r.Question != "" || attention > 0:
		r.Verdict, r.Summary = NeedsHuman, f.Good
		if attention > 0 && !f.Holds {
			r.Summary = cmp.Or(f.Open, undecided(attention, judged))
		}
	default:
		r.Verdict, r.Summary = Satisfied, f.Good
	}
	return r
}

// undecided is what is said of rows that nothing is wrong with and that a program does not judge. What holds of rows that
// are all good is not said of them.
func undecided(attention, judged int) string {
	if attention == judged {
		return "Nothing that was looked at breaks the rule, and every row is for a person to judge: marked attention below."
	}
	verb := "are"
	if attention == 1 {
		verb = "is"
	}
	return fmt.Sprintf("Nothing that was looked at breaks the rule. Of %d rows, %d %s for a person to judge: marked attention below.", judged, attention, verb)
}

// judged counts the rows that decide something.
func (t *Table) judged() int { return t.Total - t.kept[Info] }

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
}

// Time writes an instant as a cell; the zero time is "".
func Time(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// Int writes an integer as a cell.
func Int[T ~int | ~int64 | ~uint32 | ~uint64](n T) string { return strconv.FormatInt(int64(n), 10) }
