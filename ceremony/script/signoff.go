package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
)

// Opinion is what somebody signs at the end of a ceremony: their words about exactly this record.
type Opinion struct {
	Instance  string `json:"instance"`
	Ceremony  string `json:"ceremony"`
	Record    string `json:"record_sha256"` // Run.Record
	Signer    string `json:"signer"`
	Role      Role   `json:"role"`
	Statement string `json:"statement"`
}

// Opinion is what a person on the roll would sign now, as the exact bytes (RFC 8785 JSON).
func (r *Run) Opinion(instance, person, words string) ([]byte, error) {
	i := slices.IndexFunc(r.Roll, func(l Attendance) bool { return l.Person == person && l.Role != Observer })
	if i < 0 {
		return nil, &RoleError{"only who took part signs"}
	}
	return r.opinion(instance, person, r.Roll[i].Role, words)
}

func (r *Run) opinion(instance, person string, role Role, words string) ([]byte, error) {
	record, err := r.Record()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(Opinion{Instance: instance, Ceremony: r.Ceremony, Record: record, Signer: person, Role: role, Statement: words})
	if err != nil {
		return nil, fmt.Errorf("encoding a sign-off: %w", err)
	}
	payload, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding a sign-off: %w", err)
	}
	return payload, nil
}

// CheckSignOff verifies a signature over the record as it stands: by a key of its signer, over exactly this run, role
// and words. What is wrong is a *key.FieldError.
func (r *Run) CheckSignOff(s SignOff, signer *people.Person, instance string) error {
	bad := func(problem string) error {
		return &key.FieldError{Field: "envelope", Problem: problem, Allowed: "a DSSE envelope of the signer over the record as it stands, of type " + statement.TypeSignOff}
	}
	envelope, err := dsse.Parse(s.Envelope)
	if err != nil {
		return bad(err.Error())
	}
	i := slices.IndexFunc(signer.ApprovalKeys, func(c people.Credential) bool { return c.ID == envelope.KeyID() && !c.Revoked })
	if i < 0 || signer.ID != s.Person {
		return bad("not signed with a key of " + s.Person)
	}
	payload, err := envelope.Verify(statement.TypeSignOff, signer.ApprovalKeys[i])
	if err != nil {
		return bad(err.Error())
	}
	want, err := r.opinion(instance, s.Person, s.Role, s.Statement)
	if err != nil {
		return err
	}
	if !bytes.Equal(payload, want) {
		return bad("it is about something else, or about the record as it was before")
	}
	return nil
}

// CheckPlace checks where a ceremony is held.
func CheckPlace(place, site string) error {
	return key.First([]error{key.CheckText("place", place, maxText, false), key.CheckText("site", site, maxText, false)})
}
