// Package bundles keeps policy bundles from their author's signature to the proposal: handed in, checked apart from
// the service, and back-tested against what is on record.
package bundles

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
)

// ErrSignature: a bundle's signature is not what it must be.
var ErrSignature = errors.New("bundle signature")

// TypeBundle is the payload type of a signed bundle; it stands beside those of package statement.
const TypeBundle = "application/vnd.conclave.policy-bundle+json"

// Statement is what the author of a bundle signs (DSSE, TypeBundle).
type Statement struct {
	Bundle   string `json:"bundle"`   // digest of the deciding files
	Instance string `json:"instance"` // for which it is meant
	IssuedAt string `json:"issued_at"`
	Name     string `json:"name"` // what its author calls it
	Person   string `json:"person"`
	Version  int    `json:"v"`
}

const statementTime = "2006-01-02T15:04:05.000Z"

// Sign signs a bundle with a person's key.
func Sign(signer dsse.Signer, instance, person, name, digest string, at time.Time) ([]byte, error) {
	raw, err := json.Marshal(Statement{Bundle: digest, Instance: instance, IssuedAt: at.UTC().Format(statementTime), Name: name, Person: person, Version: 1})
	if err != nil {
		return nil, fmt.Errorf("encoding bundle statement: %w", err)
	}
	payload, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding bundle statement: %w", err)
	}
	return dsse.Sign(signer, TypeBundle, payload)
}

// verify reads a signed statement and holds it against the register: signed by a key of the person it names, for
// this instance, over this digest. Whether that person may still act is judged when the bundle is proposed.
func verify(envelope []byte, instance, digest string, find people.Lookup) (Statement, error) {
	bad := func(problem string) error {
		return &custodian.InputError{Field: "envelope", Problem: problem, Allowed: "a bundle statement as `conclave policy sign` makes it"}
	}
	parsed, err := dsse.Parse(envelope)
	if err != nil {
		return Statement{}, bad("not an envelope")
	}
	var s Statement
	if strictjson.CheckCanonical(parsed.UnverifiedPayload()) != nil || json.Unmarshal(parsed.UnverifiedPayload(), &s, json.RejectUnknownMembers(true)) != nil {
		return Statement{}, bad("its payload is no bundle statement")
	}
	who := find(s.Person)
	if who == nil || people.Present(who) != nil {
		return s, bad("signed by nobody who is active in the register")
	}
	for _, credential := range who.ApprovalKeys {
		if credential.Revoked || credential.ID != parsed.KeyID() {
			continue
		}
		if _, err := parsed.Verify(TypeBundle, credential); err != nil {
			return s, bad("the signature does not verify")
		}
		switch {
		case s.Version != 1 || s.Instance != instance:
			return s, bad("signed for another instance or form")
		case s.Bundle != digest:
			return s, bad("signed is bundle " + clip(s.Bundle) + ", handed in is " + digest)
		case !nameForm.MatchString(s.Name):
			return s, bad("its name is not 1 to 64 letters, digits, spaces, dots, dashes")
		}
		return s, nil
	}
	return s, bad("signed with a key that is not " + clip(s.Person) + "'s")
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$`)

func clip(s string) string { return s[:min(len(s), 64)] }
