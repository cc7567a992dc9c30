package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/policies"
)

// Operations by which an approval key comes to a person after genesis; their entries say which key.
const (
	opAddPerson  = "custodian.add"
	opAddKey     = "credential.add"
	opRecoverKey = "credential.recover"
)

// genesisCeremony is what entries and rows name in a ceremony's place for what genesis did.
const genesisCeremony = "genesis"

func bringsKey(operation string) bool {
	return operation == opAddPerson || operation == opAddKey || operation == opRecoverKey
}

// keyName is an approval key as a person's: its id is the thumbprint.
type keyName struct{ person, id string }

// arrival is what a control-plane entry says of how a key came.
type arrival struct {
	seq                 uint64
	at                  time.Time
	operation, ceremony string
}

// noteArrival remembers the entry that brought a key; the earliest, where several say so.
func (v *verifier) noteArrival(e *ledger.Entry) {
	if !bringsKey(e.Type) || e.Link == nil || e.Outcome != ledger.Done || e.Target.Type != string(custodian.KindPerson) {
		return
	}
	var d struct {
		Credential string `json:"credential"`
	}
	if err := json.Unmarshal(e.Detail, &d); err != nil || d.Credential == "" {
		return // genesis: its file says which key
	}
	name := keyName{e.Target.ID, d.Credential}
	if a, have := v.arrivals[name]; !have || e.Seq < a.seq {
		v.arrivals[name] = arrival{e.Seq, e.At, e.Type, e.Ceremony}
	}
}

// use is the earliest row of a ceremony that bears a signature by a key.
type use struct {
	seq  uint64
	file string
}

// noteUse remembers that a key signed under a ceremony.
func (v *verifier) noteUse(row RowFile, name keyName) {
	if u, have := v.uses[name]; !have || row.Seq < u.seq {
		v.uses[name] = use{row.Seq, row.File}
	}
}

// approvalKey is a key of a person row that is not in the genesis file.
type approvalKey struct {
	keyName
	people.Credential
	arrival
	file string // of the person's row
}

// provenance traces every approval key in the bundle to the genesis file: it stands there, or a ceremony that enough
// people with traced keys approved brought it. Keys are taken in the order in which they came, so that none vouches for
// itself, nor several in a ring; each ceremony is looked at once a key that names it.
func (v *verifier) provenance(ctx context.Context) error {
	traced := map[keyName]bool{}
	came, err := v.keysThatCame(ctx, traced)
	if err != nil {
		return err
	}
	founders, by := len(traced), map[string]bool{}
	for _, k := range came {
		if err := v.vouched(k, traced); err != nil {
			return fault(k.file, fmt.Errorf("%w: key %s of %s: %w", ErrProvenance, clip(k.id), clip(k.person), err))
		}
		if u, used := v.uses[k.keyName]; used && u.seq <= k.seq {
			return faultf(u.file, ErrProvenance, "key %s of %s signed it before entry %d, by which it came", clip(k.id), clip(k.person), k.seq)
		}
		traced[k.keyName], by[k.ceremony] = true, true
	}
	v.result.Keys, v.result.KeyCeremonies = len(traced), len(by)
	if len(came) == 0 {
		v.say("%s of %s stands in the genesis file, for that person.", amount.Each(founders, "approval key"), amount.Of(len(v.people), "person"))
		return nil
	}
	v.say("%s of %s is traced to the genesis file: %d stand in it, %d came by %s, each approved by at least %s beside the requester and whom it was about, with keys that were traced before. Whether they were in the roles that it took, and whether their keys had been revoked by then, is the service's word.",
		amount.Each(len(traced), "approval key"), amount.Of(len(v.people), "person"), founders, len(came), amount.Of(len(by), "ceremony"), amount.Of(v.floor(), "person"))
	return nil
}

// floor is how many people beside the requester approve what is governed, by what is compiled in.
func (v *verifier) floor() int { return policies.LeastApprovals(policies.Mode(v.manifest.Mode)) }

// keysThatCame marks the keys of the genesis file as traced and returns all others in the order in which they came.
func (v *verifier) keysThatCame(ctx context.Context, traced map[keyName]bool) ([]approvalKey, error) {
	var came []approvalKey
	owners := map[string]string{}
	err := v.bodies(ctx, string(custodian.KindPerson), ErrProvenance, func(row RowFile, _ []byte) error {
		for _, c := range v.people[row.ID].ApprovalKeys {
			public, err := jwk.Parse(c.Key)
			if err != nil || public.Thumbprint() != c.ID {
				return fmt.Errorf("key %s of %s is not the one of this id", clip(c.ID), clip(row.ID))
			}
			if owner, taken := owners[c.ID]; taken {
				return fmt.Errorf("key %s of %s is also %s's", clip(c.ID), clip(row.ID), clip(owner))
			}
			owners[c.ID] = row.ID
			name := keyName{row.ID, c.ID}
			if f, founds := v.founders[c.ID]; founds && f.person == row.ID {
				traced[name] = true
				continue
			}
			came = append(came, approvalKey{name, c, v.arrivals[name], row.File})
		}
		return nil
	})
	slices.SortStableFunc(came, func(a, b approvalKey) int { return cmp.Compare(a.seq, b.seq) })
	return came, err
}

// vouched checks that a key came by a ceremony which people whose keys are traced approved.
func (v *verifier) vouched(k approvalKey, traced map[keyName]bool) error {
	if k.seq == 0 {
		return errors.New("it is not in the genesis file, and no entry of the ledger says how it came")
	}
	if k.AddedBy != k.ceremony || !k.AddedAt.Equal(k.at) {
		return fmt.Errorf("its row says that it came by %q at %s, entry %d says otherwise", clip(k.AddedBy), k.AddedAt.Format(time.RFC3339Nano), k.seq)
	}
	c := v.bringing[k.ceremony]
	switch {
	case c == nil:
		return fmt.Errorf("ceremony %s, by which it came, is not in the bundle", clip(k.ceremony))
	case c.Operation != k.operation || c.State != stateCompleted:
		return fmt.Errorf("ceremony %s is %s, %s", clip(c.ID), clip(c.Operation), clip(c.State))
	}
	person, id, err := c.brings()
	if err != nil || person != k.person || id != k.id {
		return fmt.Errorf("ceremony %s gave another key, or gave it to somebody else", clip(c.ID))
	}
	if c.Requester.Kind != human || c.Requester.ID == k.person || !traced[keyName{c.Requester.ID, c.askedWith}] {
		return fmt.Errorf("whoever asked for ceremony %s is the person themselves, or has no key that was traced before", clip(c.ID))
	}
	voices := map[string]bool{}
	for _, approver := range c.Approvers {
		if approver != c.Requester.ID && approver != k.person && traced[keyName{approver, c.approvedWith[approver]}] {
			voices[approver] = true
		}
	}
	if least := v.floor(); len(voices) < least {
		return fmt.Errorf("ceremony %s was approved by %s whose keys were traced before, at least %d beside the requester and the person themselves are needed", clip(c.ID), amount.Of(len(voices), "person"), least)
	}
	return nil
}

// brings reads from a ceremony's parameters whom it gives which approval key.
func (c *signedCeremony) brings() (person, id string, err error) {
	var p struct {
		ID          string         `json:"id"`
		Person      string         `json:"person"`
		ApprovalKey jsontext.Value `json:"approval_key"`
	}
	if err := json.Unmarshal(c.Params, &p); err != nil {
		return "", "", err
	}
	public, err := jwk.Parse(p.ApprovalKey)
	if err != nil {
		return "", "", err
	}
	if person = p.Person; c.Operation == opAddPerson {
		person = p.ID
	}
	return person, public.Thumbprint(), nil
}
