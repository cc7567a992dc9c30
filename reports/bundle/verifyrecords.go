package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/people"
)

// DSSE payload types of what people sign outside ceremonies' statements (docs/statement-format.md); package ceremony is
// a sibling.
const (
	typeAcknowledgement = "application/vnd.conclave.acknowledgement+json"
	typeDestruction     = "application/vnd.conclave.destruction+json"
	typeSignOff         = "application/vnd.conclave.sign-off+json"
)

// bodies walks the rows of a kind whose content is in the bundle. What fn finds wrong is a fault of the row's file, of the
// kind given.
func (v *verifier) bodies(ctx context.Context, kind string, wrong error, fn func(row RowFile, body []byte) error) error {
	for _, row := range v.index.Rows {
		if row.Kind != kind || row.File == "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		body, err := v.archive.read(row.File)
		if err != nil {
			return err
		}
		var file *FileError
		if err := fn(row, body); errors.As(err, &file) {
			return err
		} else if err != nil {
			return fault(row.File, fmt.Errorf("%w: %w", wrong, err))
		}
	}
	return nil
}

// read decodes a row of the bundle; members that are not looked at are passed over.
func read(row RowFile, body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fault(row.File, fmt.Errorf("%w: %w", ErrFormat, err))
	}
	return nil
}

// digest is the hex SHA-256 of a value as RFC 8785 JSON.
func digest(value any) (string, error) {
	raw, err := canonical(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// signedRun is what of a ceremony held by its script is held against the signatures over its record.
type signedRun struct {
	Ceremony     string         `json:"ceremony"`
	State        string         `json:"state"`
	Script       jsontext.Value `json:"script"`
	ScriptSHA256 string         `json:"script_sha256"`
	Roll         []struct {
		Person string `json:"person"`
		Role   string `json:"role"`
	} `json:"roll"`
	SignOffs []struct {
		Person    string         `json:"person"`
		Role      string         `json:"role"`
		Statement string         `json:"statement"`
		Envelope  jsontext.Value `json:"envelope"`
	} `json:"sign_offs"`
}

// observer signs nothing.
const observer = "observer"

// signOffs checks the signatures over the records of ceremonies that were held by a script.
func (v *verifier) signOffs(ctx context.Context) error {
	runs := 0
	err := v.bodies(ctx, kindScript, ErrTranscript, func(row RowFile, body []byte) error {
		var r signedRun
		if err := read(row, body, &r); err != nil {
			return err
		}
		if id, _, _ := strings.Cut(row.ID, "/"); r.Ceremony != id {
			return fmt.Errorf("it is the record of ceremony %s", clip(r.Ceremony))
		}
		runs++
		v.result.SignOffs += len(r.SignOffs)
		return v.signOff(&r, body)
	})
	if err != nil || runs == 0 {
		return err
	}
	v.say("%s over the records of %s held by a script is by a key of the person named, in their role on its roll, over exactly what the record says of steps and outcomes; where it counts as signed, all who took part have signed.",
		amount.Each(v.result.SignOffs, "signature"), amount.Of(runs, "ceremony"))
	return nil
}

func (v *verifier) signOff(r *signedRun, body []byte) error {
	if sum, err := digest(r.Script); err != nil || sum != r.ScriptSHA256 {
		return errors.New("its script has another SHA-256 than it says")
	}
	record, err := recordOf(body)
	if err != nil {
		return err
	}
	signed := map[string]bool{}
	for _, s := range r.SignOffs {
		on := slices.ContainsFunc(r.Roll, func(l struct {
			Person string `json:"person"`
			Role   string `json:"role"`
		}) bool {
			return l.Person == s.Person && l.Role == s.Role && l.Role != observer
		})
		if !on || signed[s.Person] {
			return fmt.Errorf("%s signed it, and did not take part as %s, or signed twice", clip(s.Person), clip(s.Role))
		}
		signed[s.Person] = true
		payload, err := v.signedBy(s.Envelope, typeSignOff, s.Person)
		if err != nil {
			return err
		}
		want, err := canonical(map[string]string{"instance": v.manifest.Instance, "ceremony": r.Ceremony, "record_sha256": record,
			"signer": s.Person, "role": s.Role, "statement": s.Statement})
		if err != nil {
			return err
		}
		if string(payload) != string(want) {
			return fmt.Errorf("sign-off of %s: it is about something else, or about another record", clip(s.Person))
		}
	}
	for _, l := range r.Roll {
		if r.State == "signed" && l.Role != observer && !signed[l.Person] {
			return fmt.Errorf("it counts as signed, and %s, who took part, has not signed", clip(l.Person))
		}
	}
	return nil
}

// recordOf is the digest of what is signed off: the run without its signatures, its end, and what people do to it later
// (docs/statement-format.md, "Sign-off of a ceremony's record").
func recordOf(body []byte) (string, error) {
	run := map[string]jsontext.Value{}
	if err := json.Unmarshal(body, &run); err != nil {
		return "", err
	}
	for _, name := range []string{"sign_offs", "ended_at", "end_reason", "abandoned_by"} {
		delete(run, name)
	}
	run["state"] = jsontext.Value(`""`)
	for list, names := range map[string][]string{"roll": {"left_at"}, "deviations": {"closed_at", "closed_by", "finding"}} {
		if run[list] == nil {
			continue
		}
		var lines []map[string]jsontext.Value
		if err := json.Unmarshal(run[list], &lines); err != nil {
			return "", err
		}
		for _, line := range lines {
			for _, name := range names {
				delete(line, name)
			}
		}
		raw, err := canonical(lines)
		if err != nil {
			return "", err
		}
		run[list] = raw
	}
	return digest(run)
}

// acknowledgements checks that each person's acceptance of duty is signed by them, as their row says.
func (v *verifier) acknowledgements(ctx context.Context) error {
	err := v.bodies(ctx, string(custodian.KindPerson), ErrAcknowledgement, func(row RowFile, _ []byte) error {
		p := v.people[row.ID]
		if p == nil {
			return fmt.Errorf("it is not %s's", clip(row.ID))
		}
		a := p.Acknowledgement
		if a == nil {
			return nil
		}
		terms, err := v.acknowledged(a.Envelope, p.ID)
		if err != nil {
			return err
		}
		from, errFrom := time.Parse(time.RFC3339, terms.EffectiveAt)
		until, errUntil := time.Parse(time.RFC3339, terms.ExpiresAt)
		switch {
		case terms.FormVersion != a.FormVersion:
			return fmt.Errorf("version %s of the form is signed, the row says %s", clip(terms.FormVersion), clip(a.FormVersion))
		case errFrom != nil || errUntil != nil || !until.Equal(a.ExpiresAt):
			return fmt.Errorf("until %s is signed, the row says %s", clip(terms.ExpiresAt), a.ExpiresAt.Format(time.RFC3339))
		case from.After(a.SignedAt) || !until.After(a.SignedAt) || until.Sub(from) > people.AcknowledgementPeriod:
			return errors.New("it is signed for another time than the row says, or for more than a year")
		}
		return nil
	})
	if err != nil || v.result.Acknowledgements == 0 {
		return err
	}
	v.say("%s of duty is signed by a key of the person, over the form and the end that the row says.", amount.Each(v.result.Acknowledgements, "acknowledgement"))
	if v.unbound > 0 {
		v.say("%d of them, signed before acknowledgements did so, %s no instance: that it was this one is NOT shown.", v.unbound, amount.Verb(v.unbound, "names", "name"))
	}
	if v.otherForms > 0 {
		v.say("%d of them %s over a version of the form that this program does not know: what its text says is NOT shown.", v.otherForms, amount.Verb(v.otherForms, "is", "are"))
	}
	return nil
}

// acknowledged checks one signed acceptance of duty.
func (v *verifier) acknowledged(envelope []byte, person string) (people.Terms, error) {
	var t people.Terms
	payload, err := v.signedBy(envelope, typeAcknowledgement, person)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(payload, &t, json.RejectUnknownMembers(true)); err != nil {
		return t, err
	}
	form := people.CurrentForm()
	switch {
	case t.Instance != "" && t.Instance != v.manifest.Instance:
		return t, fmt.Errorf("it is of instance %s", clip(t.Instance))
	case t.Person != person:
		return t, fmt.Errorf("it is of %s, signed by %s", clip(t.Person), clip(person))
	case t.FormVersion == form.Version && t.FormSHA256 != form.Digest():
		return t, errors.New("another text is signed than that of the form")
	}
	if !v.duties[string(payload)] && t.FormVersion != form.Version {
		v.otherForms++
	}
	if !v.duties[string(payload)] && t.Instance == "" {
		v.unbound++
	}
	v.duties[string(payload)] = true // the person's row and the ceremony hold the same
	v.result.Acknowledgements = len(v.duties)
	return t, nil
}

// destroyed checks the attestation that a share is gone: signed by its holder, handed in by the witness.
func (v *verifier) destroyed(c *signedCeremony) error {
	var p struct {
		Envelope jsontext.Value `json:"envelope"`
	}
	var d struct {
		Instance string `json:"instance"`
		Person   string `json:"person"`
		Witness  string `json:"witness"`
	}
	if err := json.Unmarshal(c.Params, &p); err != nil {
		return err
	}
	claimed, err := payloadOf(p.Envelope)
	if err == nil {
		err = json.Unmarshal(claimed, &d)
	}
	if err == nil {
		_, err = v.signedBy(p.Envelope, typeDestruction, d.Person)
	}
	if err == nil && (d.Instance != v.manifest.Instance || d.Witness != c.Requester.ID || d.Witness == d.Person) {
		err = errors.New("it is of another instance or witness")
	}
	if err != nil {
		return fmt.Errorf("attestation of destruction: %w", err)
	}
	return nil
}
