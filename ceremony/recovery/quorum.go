package recovery

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/dsse"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
	"conclave/hsm/secret"
)

// maxContribution bounds what one person gives: an envelope and a sealed share.
const maxContribution = 64 << 10

// Contribution is what one person gives to a session: their signed statement and, of a custodian, their share, sealed
// to the session's collector.
type Contribution struct {
	Version  int            `json:"v"`
	Session  string         `json:"session"` // id
	Person   string         `json:"person"`
	Envelope jsontext.Value `json:"envelope"`
	Sealed   string         `json:"sealed,omitempty"`
}

// Encode returns the contribution's bytes.
func (c *Contribution) Encode() ([]byte, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding contribution: %w", err)
	}
	return strictjson.Canonical(raw)
}

// ReadContribution reads what Encode wrote.
func ReadContribution(raw []byte) (*Contribution, error) {
	if err := strictjson.Check(raw, maxContribution); err != nil {
		return nil, fmt.Errorf("reading contribution: %w", err)
	}
	c := new(Contribution)
	if err := json.Unmarshal(raw, c, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading contribution: %w", err)
	}
	if c.Version != 1 {
		return nil, fmt.Errorf("reading contribution: version %d, this program reads 1", c.Version)
	}
	return c, nil
}

// Register is what the manifest says about the shares of the backup key.
func register(m *backup.Manifest) shamir.Register {
	r := shamir.Register{Set: shamir.Set{ID: m.ShareSet, Epoch: m.Epoch}, Threshold: m.Threshold, Commitments: map[int][]byte{}}
	for _, s := range m.Shares {
		r.Commitments[s.Index] = s.Commitment
	}
	return r
}

// Contribute opens the custodian's own share from the manifest, checks it against its commitment, and gives it, sealed
// to the session, with a signature over exactly this restore. Nothing of the share leaves in the clear.
func (o *Opened) Contribute(signer *keyfile.Signer, now time.Time) (*Contribution, error) {
	if err := o.Alive(now); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(o.Manifest.Shares, func(s backup.Share) bool { return s.Custodian == signer.ID() })
	if i < 0 {
		return nil, fmt.Errorf("%s holds no share of set %s, epoch %d", signer.ID(), o.Manifest.ShareSet, o.Manifest.Epoch)
	}
	share, err := signer.OpenShare(o.Manifest.Shares[i].Sealed)
	if err != nil {
		return nil, err
	}
	defer share.Wipe()
	if err := shamir.CheckShare(share, register(o.Manifest)); err != nil {
		return nil, err
	}
	key, err := o.Collector.JSON()
	if err != nil {
		return nil, err
	}
	sealed, err := shamir.Seal(share, shamir.Recipient{KeyID: o.Collector.Thumbprint(), Key: key})
	if err != nil {
		return nil, err
	}
	return o.contribution(signer, statement.Approve, sealed, now)
}

// Witness gives the signed attendance of somebody who saw the restore done.
func (o *Opened) Witness(signer *keyfile.Signer, now time.Time) (*Contribution, error) {
	if err := o.Alive(now); err != nil {
		return nil, err
	}
	return o.contribution(signer, statement.Attend, "", now)
}

func (o *Opened) contribution(signer *keyfile.Signer, decision statement.Decision, sealed string, now time.Time) (*Contribution, error) {
	st, err := o.Statement(signer.ID(), decision, now)
	if err != nil {
		return nil, err
	}
	payload, err := st.Marshal()
	if err != nil {
		return nil, err
	}
	envelope, err := signer.Sign(statement.TypeStatement, payload)
	if err != nil {
		return nil, err
	}
	return &Contribution{Version: 1, Session: o.ID, Person: signer.ID(), Envelope: envelope, Sealed: sealed}, nil
}

// Combine puts the private backup key together from what custodians gave. Shares that are wrong, of another set or
// given twice are named; with fewer than the threshold the error says how many are lacking.
func (o *Opened) Combine(collector *keyfile.Signer, given []*Contribution) (*secret.Bytes, error) {
	shares, err := shamir.NewCollector(register(o.Manifest))
	if err != nil {
		return nil, err
	}
	defer shares.Wipe()
	for _, c := range given {
		if c.Session != o.ID {
			return nil, fmt.Errorf("contribution of %s: %w", c.Person, ErrOther)
		}
		if c.Sealed == "" {
			continue
		}
		share, err := collector.OpenShare(c.Sealed)
		if err != nil {
			return nil, fmt.Errorf("share of %s: %w", c.Person, err)
		}
		if !slices.ContainsFunc(o.Manifest.Shares, func(s backup.Share) bool { return s.Custodian == c.Person && s.Index == share.Index() }) {
			share.Wipe()
			return nil, fmt.Errorf("share of %s: %w", c.Person, shamir.ErrNotIssued)
		}
		if err := shares.Add(share); err != nil {
			share.Wipe()
			return nil, fmt.Errorf("share of %s: %w", c.Person, err)
		}
	}
	scalar, err := shares.Combine()
	if errors.Is(err, shamir.ErrTooFew) {
		err = fmt.Errorf("%w: %w", ErrQuorum, err)
	}
	return scalar, err
}

// Quorum is who stands behind a restore.
type Quorum struct {
	People    []string
	Witnesses []string
}

// Register is where people and shares are looked up: the restored rows, the live instance, or rows proven to be the
// ledger's.
type Register struct {
	Person people.Lookup
	Share  func(set string, epoch uint32, index int) *people.Share
}

// Judge verifies every signature: by a key that the register gives to that person, over exactly this session, by a
// holder of a share of the backup key or by a witness who is none of them. The threshold of holders and one witness
// are needed. Whoever is suspended or has left does not count.
func (o *Opened) Judge(envelopes []jsontext.Value, r Register) (Quorum, error) {
	var q Quorum
	var refused []string
	for _, raw := range envelopes {
		who, decision, err := o.verify(raw, r)
		switch {
		case err != nil:
			refused = append(refused, err.Error())
		case decision == statement.Approve && !slices.Contains(q.People, who):
			q.People = append(q.People, who)
		case decision == statement.Attend && !slices.Contains(q.Witnesses, who):
			q.Witnesses = append(q.Witnesses, who)
		}
	}
	q.Witnesses = slices.DeleteFunc(q.Witnesses, func(w string) bool { return slices.Contains(q.People, w) })
	slices.Sort(q.People)
	slices.Sort(q.Witnesses)
	var lacks []error
	if lack := o.Manifest.Threshold - len(q.People); lack > 0 {
		lacks = append(lacks, fmt.Errorf("%s of a share must approve", amount.Of(lack, "more holder")))
	}
	if len(q.Witnesses) == 0 {
		lacks = append(lacks, errors.New("a witness must attend and sign"))
	}
	if len(lacks) == 0 {
		return q, nil
	}
	for _, why := range refused {
		lacks = append(lacks, fmt.Errorf("does not count: %s", why))
	}
	return q, fmt.Errorf("%w: %w", ErrQuorum, errors.Join(lacks...))
}

func (o *Opened) verify(raw []byte, r Register) (string, statement.Decision, error) {
	p, claimed, payload, err := signed(raw, r)
	if err != nil {
		return "", "", err
	}
	want, err := o.Statement(p.ID, claimed.Decision, claimed.IssuedAt)
	if err != nil {
		return "", "", err
	}
	bytesWanted, err := want.Marshal()
	if err != nil || !bytes.Equal(payload, bytesWanted) {
		return "", "", fmt.Errorf("%s: signed something else than this session", p.ID)
	}
	from, _, err := o.period()
	if err != nil {
		return "", "", err
	}
	if claimed.IssuedAt.Before(from.Add(-skew)) {
		return "", "", fmt.Errorf("%s: signed before the session began", p.ID)
	}
	return p.ID, claimed.Decision, counts(p, claimed.Decision, func() error { return o.holds(p, r) })
}

// signed verifies a statement with a key of the person whom it names, who must be there.
func signed(raw []byte, r Register) (p *people.Person, claimed statement.Statement, payload []byte, err error) {
	envelope, err := dsse.Parse(raw)
	if err != nil {
		return nil, claimed, nil, err
	}
	if claimed, err = statement.Parse(envelope.UnverifiedPayload()); err != nil {
		return nil, claimed, nil, err
	}
	p = r.Person(claimed.Signer)
	if err := people.Present(p); err != nil {
		return nil, claimed, nil, err
	}
	key := p.Credential(envelope.KeyID())
	if key == nil {
		return nil, claimed, nil, fmt.Errorf("%s: signed with a key that is not theirs", p.ID)
	}
	if payload, err = envelope.Verify(statement.TypeStatement, *key); err != nil {
		return nil, claimed, nil, fmt.Errorf("%s: %w", p.ID, err)
	}
	return p, claimed, payload, nil
}

// counts says why somebody's decision does not: who approves holds a share, who attends is a witness.
func counts(p *people.Person, d statement.Decision, holds func() error) error {
	switch d {
	case statement.Approve:
		return holds()
	case statement.Attend:
		if !p.Has(people.RoleWitness) {
			return fmt.Errorf("%s: attends without being a witness", p.ID)
		}
		return nil
	}
	return fmt.Errorf("%s: signed a %s", p.ID, d)
}

// skew is how far people's clocks may be behind that of whoever began the session (ours).
const skew = 10 * time.Minute

// holds: the register gives this person a share of the backup key, the very one that the manifest gives them.
func (o *Opened) holds(p *people.Person, r Register) error {
	for _, s := range o.Manifest.Shares {
		if s.Custodian != p.ID {
			continue
		}
		line := r.Share(o.Manifest.ShareSet, o.Manifest.Epoch, s.Index)
		if line != nil && line.Custodian == p.ID && bytes.Equal(line.Commitment, s.Commitment) && line.Status != people.ShareLost {
			return nil
		}
	}
	return fmt.Errorf("%s: holds no share of set %s, epoch %d, in good standing", p.ID, o.Manifest.ShareSet, o.Manifest.Epoch)
}
