package recovery

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/people"
)

// Drill is the record of a restore test: who opened which backup, by their own signatures, and what was found in it.
type Drill struct {
	Backup        string           `json:"backup"`
	SessionSHA256 string           `json:"session_sha256"`
	Entries       uint64           `json:"entries"` // verified
	Rows          int              `json:"rows"`
	Root          string           `json:"root"` // of the entries' tree, base64
	FinishedAt    string           `json:"finished_at"`
	Envelopes     []jsontext.Value `json:"envelopes"`
}

// NewDrill makes the record of a drill that went through.
func NewDrill(o *Opened, r Result, given []*Contribution, finished string) *Drill {
	d := &Drill{Backup: o.Backup.ID, SessionSHA256: o.Digest(), Entries: r.Backup.Size, Rows: r.Rows, Root: r.Backup.Root.String(), FinishedAt: finished}
	for _, c := range given {
		d.Envelopes = append(d.Envelopes, c.Envelope)
	}
	return d
}

// maxEnvelopes bounds what is verified of a record that comes from outside.
const maxEnvelopes = 64

// Judge holds a record against a registered copy: enough holders of the shares that open it, and a witness, signed
// exactly this drill, and what was found is what the register says of the copy.
func (d *Drill) Judge(c *backup.Copy, in custodian.Instance, r Register) (Quorum, error) {
	var q Quorum
	switch {
	case d.Backup != c.ID || d.Entries != c.Size || d.Root != c.Root || uint64(d.Rows) != c.Rows:
		return q, fmt.Errorf("it found %d entries and %d rows; the register says that backup %s has %d and %d", d.Entries, d.Rows, c.ID, c.Size, c.Rows)
	case len(d.Envelopes) > maxEnvelopes:
		return q, fmt.Errorf("%d signatures, at most %d are read", len(d.Envelopes), maxEnvelopes)
	}
	for _, raw := range d.Envelopes {
		p, decision, err := d.verify(raw, c, in, r)
		if err != nil {
			return q, err
		}
		switch {
		case decision == statement.Approve && !slices.Contains(q.People, p):
			q.People = append(q.People, p)
		case decision == statement.Attend && !slices.Contains(q.Witnesses, p):
			q.Witnesses = append(q.Witnesses, p)
		}
	}
	q.Witnesses = slices.DeleteFunc(q.Witnesses, func(w string) bool { return slices.Contains(q.People, w) })
	if len(q.People) < max(c.Threshold, 2) || len(q.Witnesses) == 0 {
		return q, fmt.Errorf("%w: %d holders and %d witnesses signed, %d and 1 are needed", ErrQuorum, len(q.People), len(q.Witnesses), max(c.Threshold, 2))
	}
	slices.Sort(q.People)
	slices.Sort(q.Witnesses)
	return q, nil
}

func (d *Drill) verify(raw []byte, c *backup.Copy, in custodian.Instance, r Register) (string, statement.Decision, error) {
	p, claimed, _, err := signed(raw, r)
	if err != nil {
		return "", "", err
	}
	var params struct {
		Backup  string `json:"backup_sha256"`
		Session string `json:"session_sha256"`
		Scratch bool   `json:"scratch"`
	}
	if err := json.Unmarshal(claimed.Params, &params); err != nil {
		return "", "", fmt.Errorf("%s: %w", p.ID, err)
	}
	same := claimed.Instance == in.ID && string(claimed.Mode) == string(in.Mode) && claimed.Operation == OperationOpen && claimed.Target.ID == c.ID &&
		claimed.Target.Type == "backup" && params.Scratch && params.Backup == c.SHA256 && params.Session == d.SessionSHA256 &&
		claimed.Checkpoint.Size == c.Size
	if !same {
		return "", "", fmt.Errorf("%s: signed something else than this drill", p.ID)
	}
	return p.ID, claimed.Decision, counts(p, claimed.Decision, func() error { return holdsOf(p, c, r) })
}

func holdsOf(p *people.Person, c *backup.Copy, r Register) error {
	for index := 1; index <= people.MaxShares; index++ {
		line := r.Share(c.ShareSet, c.Epoch, index)
		if line == nil {
			break
		}
		if line.Custodian == p.ID {
			return nil
		}
	}
	return fmt.Errorf("%s: holds no share of set %s, epoch %d", p.ID, c.ShareSet, c.Epoch)
}
