package reports

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"conclave/reports/control"
)

// kindRun is the kind of the rows that record ceremonies held by a script; like kindCeremony, a sibling package's.
const kindRun = "script_run"

// scriptRun is the record of a ceremony held by its script, as its row has it.
type scriptRun struct {
	Ceremony string `json:"ceremony"`
	Script   struct {
		ID      string `json:"id"`
		Title   string `json:"title"`
		Version int    `json:"version"`
		Steps   []struct {
			Phase    string `json:"phase"`
			Text     string `json:"text"`
			Expected string `json:"expected"`
		} `json:"steps"`
	} `json:"script"`
	ScriptSHA256 string `json:"script_sha256"`
	Place        string `json:"place"`
	State        string `json:"state"`
	Roll         []struct {
		Person    string     `json:"person"`
		Name      string     `json:"name"`
		Role      string     `json:"role"`
		Site      string     `json:"site"`
		ArrivedAt time.Time  `json:"arrived_at"`
		LeftAt    *time.Time `json:"left_at"`
		Document  string     `json:"document"`
		CheckedBy string     `json:"checked_by"`
	} `json:"roll"`
	Steps []struct {
		Number     int       `json:"number"`
		Actual     string    `json:"actual"`
		AsExpected bool      `json:"as_expected"`
		At         time.Time `json:"at"`
		By         string    `json:"by"`
		Initials   string    `json:"initials"`
	} `json:"steps"`
	Deviations []struct {
		Number    int        `json:"number"`
		Step      int        `json:"step"`
		What      string     `json:"what"`
		Why       string     `json:"why"`
		DecidedBy string     `json:"decided_by"`
		Impact    string     `json:"impact"`
		At        time.Time  `json:"at"`
		ClosedAt  *time.Time `json:"closed_at"`
		ClosedBy  string     `json:"closed_by"`
	} `json:"deviations"`
	SignOffs []struct {
		Person    string         `json:"person"`
		Role      string         `json:"role"`
		Statement string         `json:"statement"`
		At        time.Time      `json:"at"`
		Envelope  jsontext.Value `json:"envelope"`
	} `json:"sign_offs"`
}

// script is the record of the script, where the ceremony was held by one: who was there, each step as it was performed,
// what deviated, and who signed the record.
func (b *bound) script(ev *control.Evidence) []*control.Table {
	if b.run == nil {
		if b.Value.Administrator == "" {
			return nil
		}
		missing := control.NewTable("The script", columns("matter")...)
		missing.Note(control.Attention, "", control.Proves(b.Ref), "it was held by a script, whose record is not there or contradicts the ledger")
		return []*control.Table{missing}
	}
	run, proof := b.run.Value, control.Proves(b.run.Ref)
	roll := control.NewTable("Who was there: "+run.Place, columns("person", "name", "role", "site", "arrived", "left", "identified by")...)
	for _, a := range run.Roll {
		left, identified := "", a.Document
		if a.LeftAt != nil {
			left = control.Time(*a.LeftAt)
		}
		if a.CheckedBy != "" {
			identified += ", checked by " + a.CheckedBy
		}
		roll.Note(control.Info, "", proof, a.Person, a.Name, a.Role, a.Site, control.Time(a.ArrivedAt), left, identified)
	}
	steps := control.NewTable(fmt.Sprintf("The script as it was performed: %s, version %d (%s, %s)", run.Script.Title, run.Script.Version, run.Script.ID, run.State),
		columns("step", "phase", "what is to be done", "expected", "what came of it", "at", "by", "initials")...)
	for i, line := range run.Script.Steps {
		if i >= len(run.Steps) {
			steps.Note(control.Attention, "", proof, fmt.Sprint(i+1), line.Phase, line.Text, line.Expected, "not done", "", "", "")
			continue
		}
		done, state := run.Steps[i], control.Info
		came := done.Actual
		if !done.AsExpected {
			came, state = "not as expected: "+came, control.Attention
		}
		steps.Note(state, "", proof, fmt.Sprint(done.Number), line.Phase, line.Text, line.Expected, came, control.Time(done.At), done.By, done.Initials)
	}
	if run.ScriptSHA256 != "" {
		steps.Note(control.Info, "", proof, "", "", "SHA-256 of the script", "", run.ScriptSHA256, "", "", "")
	}
	deviations := control.NewTable("Deviations from the script", columns("step", "what", "why", "impact", "decided by", "at", "closed")...)
	for _, d := range run.Deviations {
		closed := "open"
		if d.ClosedAt != nil {
			closed = d.ClosedBy + ", " + control.Time(*d.ClosedAt)
		}
		deviations.Note(control.Attention, "", proof, fmt.Sprint(d.Step), d.What, d.Why, d.Impact, d.DecidedBy, control.Time(d.At), closed)
	}
	signed := control.NewTable("Who signed the record of the script", columns("person", "role", "says", "at", "with key", "SHA-256 of what was signed", "signature")...)
	for _, s := range run.SignOffs {
		paper := checkSignature(ev, s.Person, s.Envelope)
		signed.Note(paper.state(), "", proof, s.Person, s.Role, s.Statement, control.Time(s.At), paper.key, paper.digest, paper.verdict)
	}
	return []*control.Table{roll, steps, deviations, signed}
}
