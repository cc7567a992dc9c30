package ceremony

import (
	"context"

	"conclave/ceremony/operation"
	"conclave/custodian/identity"
	"conclave/custodian/store"
	"conclave/policies"
)

// waits reports whether an attended ceremony waits once its shares are here: policy says so, and nothing is opened with
// them.
func (e *Engine) waits(c *Ceremony) bool {
	_, deferred := e.ops[c.Operation].(operation.Deferred)
	return deferred && c.State == Gathering && waitOf(c.Takes) > 0
}

// deferred reports whether an operation does without the shares that were brought to it.
func (e *Engine) deferred(c *Ceremony) bool {
	_, deferred := e.ops[c.Operation].(operation.Deferred)
	return deferred && waitOf(c.Takes) > 0
}

// begin starts the wait of an attended ceremony whose quorum is complete. Its shares have done what they were brought
// for, and are wiped.
func (e *Engine) begin(ctx context.Context, p identity.Principal, id string) (*Ceremony, error) {
	var c *Ceremony
	began := false
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		e.dropSpoilt(view, c)
		if began = e.due(c) && e.waits(c); !began {
			return nil, nil
		}
		now := e.clock.Now()
		if c.Approvers, err = e.ready(ctx, view, c, now); err != nil {
			return nil, err
		}
		c.State, c.ApprovedAt, c.WaitLeft = Approved, &now, waitOf(c.Takes)
		return func(tx *store.Tx) error {
			c.LastSeq = tx.View().Head().Size
			return put(tx, c, e.entry("wait", p, c, map[string]any{"approvers": c.Approvers, "shares": len(c.Shares), "seconds": c.Takes.WaitSeconds}))
		}, nil
	})
	if err != nil {
		return nil, e.runFailed(ctx, p, c, err)
	}
	if began {
		e.dropShares(id)
	}
	return c, nil
}

// decided names the ceremony of an operation on a target that waits, or is being executed; "" for none.
func decided(view *store.View, name string, target operation.Target) string {
	for _, c := range store.Active[Ceremony](view, Kind) {
		if c.Operation == name && c.Target.Type == target.Type && c.Target.ID == target.ID && (c.State == Approved || c.State == Executing || c.State == Indeterminate) {
			return c.ID
		}
	}
	return ""
}

// waitsInMemory reports whether policy asks that shares wait that are needed afterwards: they never do.
func (e *Engine) waitsInMemory(c *Ceremony, takes policies.QuorumDecision) bool {
	_, deferred := e.ops[c.Operation].(operation.Deferred)
	return takes.Class == policies.Attended && waitOf(takes) > 0 && !deferred
}
