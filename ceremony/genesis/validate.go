package genesis

import (
	"encoding/hex"
	"fmt"
	"time"

	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/hsm"
)

// Bounds of a beginning.
const (
	maxPeople    = 200
	maxKeystores = 16
)

// Validate checks every field and that the instance could be governed afterwards: enough people for every
// quorum, whoever asks.
func (f *File) Validate() error {
	checks := []error{
		key.CheckRange("version", f.Version, 1, 1, "(this program reads version 1)"),
		key.CheckText("name", f.Name, 128, false),
		key.CheckOneOf("mode", f.Mode, custodian.Production, custodian.Development),
		key.CheckRange("people", len(f.People), 1, maxPeople, "people"),
		key.CheckRange("keystores", len(f.Keystores), 1, maxKeystores, "keystores"),
		checkDigest(f.PolicyDigest),
		f.checkAttestation(),
	}
	if err := key.First(checks); err != nil {
		return err
	}
	register, err := f.register(time.Time{})
	if err != nil {
		return err
	}
	if err := f.checkKeystores(register); err != nil {
		return err
	}
	return f.checkGovernable(register)
}

func checkDigest(digest string) error {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != digest {
		return &key.FieldError{Field: "policy_digest", Problem: "not a SHA-256", Allowed: "64 lower-case hex digits, as `conclave version` prints for the bundle"}
	}
	return nil
}

func (f *File) checkAttestation() error {
	a := f.Attestation
	allowed := []string{"in-person", "by-voice"}
	if f.Mode == custodian.Development {
		allowed = append(allowed, "not-compared")
	}
	if err := key.CheckOneOf("attestation.fingerprints_compared", a.FingerprintsCompared, allowed...); err != nil {
		return err
	}
	if a.At.IsZero() {
		return &key.FieldError{Field: "attestation.at", Problem: "missing", Allowed: "the time of the comparison, RFC 3339"}
	}
	for _, p := range f.People {
		if p.ID == a.By {
			return nil
		}
	}
	return &key.FieldError{Field: "attestation.by", Problem: fmt.Sprintf("%q is not among the people", a.By), Allowed: "a person of this file"}
}

// register makes the people rows and checks each, and that ids and keys are nobody else's.
func (f *File) register(at time.Time) ([]*people.Person, error) {
	var register []*people.Person
	ids, keys := map[string]int{}, map[string]string{}
	for i, in := range f.People {
		field := fmt.Sprintf("people[%d]", i)
		p, err := in.row(at, f.Mode == custodian.Development)
		if err == nil {
			err = p.Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		if before, twice := ids[p.ID]; twice {
			return nil, &key.FieldError{Field: field + ".id", Problem: fmt.Sprintf("%q is people[%d] already", p.ID, before), Allowed: "each person once"}
		}
		ids[p.ID] = i
		for _, id := range []string{p.ApprovalKeys[0].ID, p.ShareKeyID} {
			if owner, taken := keys[id]; taken && id != "" {
				return nil, &key.FieldError{Field: field, Problem: fmt.Sprintf("a key is also %s's", owner), Allowed: "keys of their own"}
			}
			keys[id] = p.ID
		}
		register = append(register, p)
	}
	return register, people.CheckLines(register)
}

func (in *Person) row(at time.Time, development bool) (*people.Person, error) {
	approval, err := in.ApprovalKey.JSON()
	if err != nil {
		return nil, fmt.Errorf("approval_key: %w", err)
	}
	if _, err := in.ApprovalKey.Public(); err != nil {
		return nil, fmt.Errorf("approval_key: %w", err)
	}
	p := &people.Person{
		ID: in.ID, Name: in.Name, StaffNumber: in.StaffNumber, Roles: in.Roles, Groups: in.Groups,
		Team: in.Team, Site: in.Site, Manager: in.Manager, Status: people.StatusActive,
		ApprovalKeys: []people.Credential{{ID: in.ApprovalKey.Thumbprint(), Alg: in.ApprovalKey.Alg, Key: approval, AddedAt: at}},
		AddedAt:      at, AddedBy: "genesis", Development: development,
	}
	if in.ShareKey != nil {
		if p.ShareKey, err = in.ShareKey.JSON(); err != nil {
			return nil, fmt.Errorf("share_key: %w", err)
		}
		p.ShareKeyID = in.ShareKey.Thumbprint()
	}
	return p, nil
}

func (f *File) checkKeystores(register []*people.Person) error {
	ids, sets := map[string]bool{}, map[string]bool{}
	find := people.Among(register)
	for i, ks := range f.Keystores {
		field := fmt.Sprintf("keystores[%d]", i)
		set := people.ShareSet{ID: ks.ShareSet.ID, Keystore: ks.ID, Threshold: ks.ShareSet.Threshold,
			Total: len(ks.ShareSet.Holders), Epoch: 1, Scheme: shamir.Scheme, Module: shamir.Module}
		checks := []error{
			key.CheckOneOf("driver", ks.Driver, "software"),
			key.CheckOneOf("custody", ks.Custody, "", hsm.CustodySelf),
			set.Validate(),
			people.CheckAssignment(&set, ks.ShareSet.Holders, find),
			ks.record(nil, nil, time.Time{}).Validate(),
		}
		if err := key.First(checks); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		for _, manager := range people.StrongLines(&set, people.Assigned(&set, ks.ShareSet.Holders, time.Time{}), find) {
			return &key.FieldError{Field: field + ".share_set.holders", Problem: fmt.Sprintf("the reporting line of %s, %s included, holds %d shares or more, enough to open the keystore", manager, manager, set.Threshold),
				Allowed: "fewer holders than the threshold in any one reporting line: choose others, or a higher threshold"}
		}
		if find(ks.Controller) == nil {
			return &key.FieldError{Field: field + ".controller", Problem: fmt.Sprintf("%q is not among the people", ks.Controller), Allowed: "a person of this file"}
		}
		if ids[ks.ID] || sets[ks.ShareSet.ID] {
			return &key.FieldError{Field: field + ".id", Problem: "id or share set used twice", Allowed: "each keystore and share set once"}
		}
		ids[ks.ID], sets[ks.ShareSet.ID] = true, true
	}
	return nil
}

// checkGovernable refuses a beginning in which some governed operation could never find its quorum: whoever
// asks, two other people able to approve must remain, a security officer among them.
func (f *File) checkGovernable(register []*people.Person) error {
	approvers, officers, managers := 0, 0, 0
	for _, p := range register {
		if p.Has(people.RoleCustodian) || p.Has(people.RoleSecurityOfficer) || p.Has(people.RoleKeyManager) || p.Has(people.RoleKeyOwner) {
			approvers++
		}
		if p.Has(people.RoleSecurityOfficer) {
			officers++
		}
		if p.Has(people.RoleKeyManager) {
			managers++
		}
	}
	checks := []error{
		key.CheckRange("people", approvers, 3, maxPeople, "people who may approve: a requester and two others"),
		key.CheckRange("people", officers, 2, maxPeople, "security officers: one may be the requester or the subject"),
		key.CheckRange("people", managers, 1, maxPeople, "key managers"),
	}
	return key.First(checks)
}
