package ceremony

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// CollectorKey is the key of this process's lifetime that shares are sealed to. Clients check the node's
// signature over it against the node key that they have pinned.
type CollectorKey struct {
	Instance string         `json:"instance"`
	Node     string         `json:"node"`
	Boot     string         `json:"boot"`
	Key      jsontext.Value `json:"key"` // P-256 public JWK
	At       string         `json:"at"`  // RFC 3339
}

// Collector states this process's collector key, signed by the node key.
func (e *Engine) Collector(context.Context) ([]byte, error) {
	public, err := e.collector.Public().JSON()
	if err != nil {
		return nil, fmt.Errorf("encoding the collector key: %w", err)
	}
	payload, err := json.Marshal(CollectorKey{Instance: e.door.Instance().ID, Node: e.door.Node(), Boot: e.boot,
		Key: public, At: e.clock.Now().UTC().Format("2006-01-02T15:04:05Z")})
	if err != nil {
		return nil, fmt.Errorf("encoding the collector key: %w", err)
	}
	return dsse.Sign(e.signer, statement.TypeCollector, payload)
}

// Challenge gives the holder of a share something to sign with it, to confirm or drill it.
func (e *Engine) Challenge(p identity.Principal, set string, epoch uint32, index int) []byte {
	return e.env.Challenges.New(p.ID, set, epoch, index, e.clock.Now())
}

// ActivationFor returns the open activation ceremony of a keystore on this node, or proposes one in its name.
func (e *Engine) ActivationFor(ctx context.Context, keystore string) (*Ceremony, error) {
	params, err := json.Marshal(map[string]string{"keystore": keystore})
	if err != nil {
		return nil, fmt.Errorf("encoding activation of %q: %w", keystore, err)
	}
	c, _, err := e.Propose(ctx, e.self(), Proposal{Operation: "keystore.activate", Params: params, Reason: "the keystore is inactive"})
	return c, err
}

// gatheringFor is the open ceremony of this node that gathers shares for the same as c would; nil for none.
func (e *Engine) gatheringFor(view *store.View, c *Ceremony) *Ceremony {
	if c.State != Gathering {
		return nil
	}
	now := e.clock.Now()
	for _, open := range store.Active[Ceremony](view, Kind) {
		same := open.State == Gathering && open.Operation == c.Operation && open.Target == c.Target && bytes.Equal(open.Params, c.Params)
		if same && now.Before(open.ExpiresAt) && open.PolicyDigest == c.PolicyDigest && open.Requester.ID == c.Requester.ID {
			return open
		}
	}
	return nil
}

// register is what the custody register says about the shares of a set's epoch.
func register(view *store.View, set *people.ShareSet) shamir.Register {
	r := shamir.Register{Set: shamir.Set{ID: set.ID, Epoch: set.Epoch}, Threshold: set.Threshold, Commitments: map[int][]byte{}}
	for _, s := range shares(view) {
		if s.Usable(set) {
			r.Commitments[s.Index] = s.Commitment
		}
	}
	return r
}

// shares are the lines of the custody register, of all sets.
func shares(view *store.View) []*people.Share {
	var out []*people.Share
	for _, s := range store.All[people.Share](view, custodian.KindShare) {
		out = append(out, s)
	}
	return out
}

// gatheredSet is a share set as it is for the epoch whose shares a ceremony takes, 0 being the one in force. A set
// that has moved on from that epoch voids what was to be opened with it.
func gatheredSet(view *store.View, id string, epoch uint32) (*people.ShareSet, error) {
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, id)
	if err != nil {
		return nil, fmt.Errorf("reading share set %q: %w", id, err)
	}
	at, ok := set.At(cmp.Or(epoch, set.Epoch))
	if !ok {
		return nil, fmt.Errorf("share set %s has no epoch %d any more: %w", id, epoch, ErrVoid)
	}
	return at, nil
}

// SubmitShare takes a custodian's share, sealed to this process's collector key, together with their signed
// approval. A wrong share is named, recorded, and costs the ceremony nothing. With the share that reaches the
// threshold the ceremony runs before SubmitShare returns, if nothing else is missing. Errors: shamir's and statement's, ErrCollector,
// *custodian.Denied, *FailedError.
func (e *Engine) SubmitShare(ctx context.Context, p identity.Principal, id string, envelope []byte, sealed string) (*Ceremony, error) {
	share, err := e.open(sealed)
	if err != nil {
		return nil, e.refuseShare(ctx, p, &Ceremony{ID: clip(id)}, err)
	}
	kept := false
	defer func() {
		if !kept {
			share.Wipe()
		}
	}()
	var c *Ceremony
	_, err = e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		return e.judgeShare(view, c, p, envelope, share)
	})
	if err != nil {
		return nil, e.refuseShare(ctx, p, nonNil(c, id), err)
	}
	if kept, err = e.gather(c, share); err != nil {
		return nil, err
	}
	return e.proceedGathered(ctx, p, c)
}

// open unseals a submission with the collector key of this process.
func (e *Engine) open(sealed string) (*shamir.Share, error) {
	share, err := e.collector.Open(sealed)
	if errors.Is(err, shamir.ErrNotFor) {
		return nil, fmt.Errorf("%w; fetch it again and seal the share to it: %w", ErrCollector, err)
	}
	return share, err
}

// judgeShare checks share and approval under one view and returns the step that records them.
func (e *Engine) judgeShare(view *store.View, c *Ceremony, p identity.Principal, envelope []byte, share *shamir.Share) (func(*store.Tx) error, error) {
	now := e.clock.Now()
	switch {
	case p.Kind != identity.Human:
		return nil, &IneligibleError{p.ID, "not-a-person", "only people bring shares"}
	case c.State.Ended(), !now.Before(c.ExpiresAt):
		return nil, fmt.Errorf("%s is %s, its time ends %s: %w", c.ID, c.State, c.ExpiresAt.Format(time.RFC3339), ErrEnded)
	case c.State != Gathering:
		return nil, fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrNotNow)
	case c.Requester.ID != e.door.Node(): // what was approved is to open the keystore there, not here
		return nil, fmt.Errorf("%w: %s is about node %s, this is %s; bring the share there", ErrCollector, c.ID, c.Requester.ID, e.door.Node())
	}
	set, err := gatheredSet(view, c.ShareSet, c.ShareEpoch)
	if err != nil {
		return nil, err
	}
	if err := shamir.CheckShare(share, register(view, set)); err != nil {
		return nil, err
	}
	line, _, err := store.Get[people.Share](view, custodian.KindShare, people.ShareID(set.ID, set.Epoch, share.Index()))
	if err != nil {
		return nil, fmt.Errorf("reading the custody register: %w", err)
	}
	if line.Custodian != p.ID {
		return nil, fmt.Errorf("share %d is in the custody of somebody else: %w", share.Index(), shamir.ErrNotIssued)
	}
	if e.hasShare(c, share.Index()) {
		return nil, fmt.Errorf("%w: share %d of %s", shamir.ErrRepeated, share.Index(), share.Set())
	}
	voted := slices.IndexFunc(c.Votes, func(v Vote) bool {
		return v.Person == p.ID && v.Decision == string(statement.Approve) && e.stands(view, c, v)
	})
	if voted < 0 { // an approval given before survives the process whose collector lost its share
		vote, err := e.readVote(view, c, p, envelope)
		if err != nil {
			return nil, err
		}
		if vote.Decision != string(statement.Approve) {
			return nil, fmt.Errorf("%w: a share comes with an approval", ErrStatement)
		}
		c.Votes = append(c.Votes, vote)
	} else if err := people.Eligible(person(view)(p.ID), "", now); err != nil {
		return nil, ineligible(err)
	}
	c.Shares = slices.DeleteFunc(c.Shares, func(s Contribution) bool { return s.Boot != e.boot || s.Index == share.Index() })
	c.attended(p.ID, now)
	c.Shares = append(c.Shares, Contribution{Person: p.ID, Index: share.Index(), At: now, Boot: e.boot})
	return func(tx *store.Tx) error {
		c.LastSeq = tx.View().Head().Size
		return put(tx, c, e.entry("share", p, c, map[string]any{"set": set.ID, "epoch": set.Epoch, "index": share.Index(),
			"gathered": len(c.Shares), "threshold": c.Threshold, "boot": e.boot}))
	}, nil
}

// refuseShare records a share that was refused, under a code that names what it is instead.
func (e *Engine) refuseShare(ctx context.Context, p identity.Principal, c *Ceremony, err error) error {
	code := ""
	switch {
	case errors.Is(err, shamir.ErrRepeated):
		code = "share_repeated"
	case errors.Is(err, shamir.ErrForeignSet):
		code = "share_foreign"
	case errors.Is(err, shamir.ErrStaleEpoch):
		code = "share_stale"
	case errors.Is(err, shamir.ErrWrongShare), errors.Is(err, shamir.ErrNotIssued), errors.Is(err, shamir.ErrDamaged),
		errors.Is(err, shamir.ErrSealed), errors.Is(err, shamir.ErrUnseal), errors.Is(err, ErrCollector):
		code = "share_wrong"
	default:
		return e.recordRefusal(ctx, "share", p, c, err)
	}
	rec := e.refuse(ctx, "share", p, c, []policies.Reason{{Rule: "ceremony", Code: code, Message: err.Error(),
		Remedy: "bring your own share of the epoch that the ceremony names, sealed to the collector key that the node states now"}})
	var denied *custodian.Denied
	if errors.As(rec, &denied) {
		return &ShareError{Denied: denied, Err: err}
	}
	return rec
}

// ShareError is a refused share: recorded, named, and without cost to the ceremony.
type ShareError struct {
	Denied *custodian.Denied
	Err    error
}

func (e *ShareError) Error() string   { return "share refused: " + e.Err.Error() }
func (e *ShareError) Unwrap() []error { return []error{e.Err, e.Denied} }

func (e *Engine) hasShare(c *Ceremony, index int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, gathering := e.gathering[c.ID]
	return gathering && slices.ContainsFunc(c.Shares, func(s Contribution) bool { return s.Boot == e.boot && s.Index == index })
}

// shareLost: the person approved with a share that was brought to another process and is gone with it. They bring
// it again; their approval counts once.
func (e *Engine) shareLost(c *Ceremony, person string) bool {
	if c.State != Gathering || !slices.ContainsFunc(c.Votes, func(v Vote) bool { return v.Person == person && v.Decision == string(statement.Approve) }) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, gathering := e.gathering[c.ID]
	return !gathering || !slices.ContainsFunc(c.Shares, func(s Contribution) bool { return s.Boot == e.boot && s.Person == person })
}

// gather keeps an accepted share in memory. It reports whether the collector owns the share now.
func (e *Engine) gather(c *Ceremony, share *shamir.Share) (bool, error) {
	view := e.store.View()
	set, err := gatheredSet(view, c.ShareSet, c.ShareEpoch)
	if err != nil {
		return false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	collector := e.gathering[c.ID]
	if collector == nil {
		if collector, err = shamir.NewCollector(register(view, set)); err != nil {
			return false, err
		}
		e.gathering[c.ID] = collector
	}
	if err := collector.Add(share); err != nil {
		if errors.Is(err, shamir.ErrRepeated) { // the same person twice at once: one of the two is kept
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// dropShares wipes what was gathered for a ceremony, components of a key too.
func (e *Engine) dropShares(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, value := range e.components[id] {
		value.Wipe()
	}
	delete(e.components, id)
	if collector := e.gathering[id]; collector != nil {
		collector.Wipe()
		delete(e.gathering, id)
	}
}

// proceedGathered goes on when enough shares are here. What else is missing (a witness) leaves it gathering: the
// share counts all the same.
func (e *Engine) proceedGathered(ctx context.Context, p identity.Principal, c *Ceremony) (*Ceremony, error) {
	e.mu.Lock()
	collector := e.gathering[c.ID]
	ready := collector != nil && collector.Missing() == 0
	e.mu.Unlock()
	if !ready {
		return e.Get(c.ID)
	}
	done, _, err := e.run(ctx, p, c.ID)
	if waitsForKeystore(err) || errors.Is(err, ErrQuorum) {
		return e.Get(c.ID)
	}
	return done, err
}
