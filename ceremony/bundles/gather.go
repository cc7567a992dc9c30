package bundles

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Bounds of what is read (ours): memory is that of the distinct decisions, whatever the number of recorded ones.
const (
	maxEntries = 20_000_000 // the newest
	maxGroups  = 100_000    // distinct decisions, about 300 bytes each
	// breath: after so many entries the reader pauses a moment, so that calls go first.
	breathEvery = 4096
	breath      = 2 * time.Millisecond
)

// decision is what policy was asked, as far as it is on record.
type decision struct {
	operation  string
	kind       identity.Kind
	actor      string
	credential string
	target     string // key id, or "" for what is about no key
	version    uint32
	from       uint32 // rewrap: the version that processed
	outcome    ledger.Outcome
	code       string
	reasonCode string
	acceptRisk bool
}

// group is how often one decision was recorded.
type group struct {
	count    int
	last     time.Time
	examples []string
}

// gather reads the ledger once and counts distinct decisions.
func (t *trial) gather(ctx context.Context, r *Report) (map[decision]*group, error) {
	groups := map[decision]*group{}
	size := t.view.Head().Size
	if size > maxEntries {
		r.FromSeq = size - maxEntries
	}
	r.ToSeq = size
	read := uint64(0)
	err := t.k.door.Store().Present(ctx, r.FromSeq, size, func(e *ledger.Entry, raw []byte) error {
		if read++; read%breathEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			t.k.step(func(p *Progress) { p.Read, p.Of, p.Groups = read, size-r.FromSeq, len(groups) })
			pause(ctx)
		}
		return t.each(e, func(d decision) {
			r.Decisions++
			g := groups[d]
			if g == nil {
				if len(groups) == maxGroups {
					r.NotReplayed++
					return
				}
				g = &group{}
				groups[d] = g
			}
			g.count++
			g.last = e.At
			if len(g.examples) < maxExamples {
				g.examples = append(g.examples, custodian.DecisionID(store.Receipt{LastSeq: e.Seq, Leaf: ledger.LeafHash(raw)}))
			}
		})
	})
	r.Groups = len(groups)
	return groups, err
}

func pause(ctx context.Context) {
	runtime.Gosched()
	timer := time.NewTimer(breath)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// each calls found for every decision of policy that an entry records: none, one, or the items of a batch.
func (t *trial) each(e *ledger.Entry, found func(decision)) error {
	operation, use := strings.CutPrefix(e.Type, "key.use.")
	if e.Link != nil || !use && !strings.HasSuffix(e.Type, ".read") && e.Type != "decision.explain" && e.Type != "report.create" {
		return nil
	}
	d := decision{operation: operation, kind: e.Actor.Kind, actor: e.Actor.ID, credential: e.Actor.Credential, version: e.Target.Version,
		outcome: e.Outcome, code: e.Reason}
	if use || e.Target.Type == "key" {
		d.target = e.Target.ID
	}
	var detail struct {
		Count      int      `json:"count"`
		Keys       []string `json:"keys"`
		ReasonCode string   `json:"reason_code"`
		AcceptRisk bool     `json:"accept_risk"`
		From       uint32   `json:"from_version"`
		Items      []struct {
			Key        *int           `json:"k"`
			Version    uint32         `json:"v"`
			Outcome    ledger.Outcome `json:"o"`
			Reason     string         `json:"r"`
			ReasonCode string         `json:"rc"`
			AcceptRisk bool           `json:"a"`
			From       uint32         `json:"f"`
		} `json:"items"`
	}
	if len(e.Detail) > 0 {
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			return nil // a detail too large for its entry is on record by its digest alone
		}
	}
	d.reasonCode, d.acceptRisk, d.from = detail.ReasonCode, detail.AcceptRisk, detail.From
	if len(detail.Items) == 0 {
		if judged(d) {
			found(d)
		}
		return nil
	}
	for _, item := range detail.Items {
		one := d
		if item.Key != nil && *item.Key >= 0 && *item.Key < len(detail.Keys) {
			one.target = detail.Keys[*item.Key]
		}
		if item.Version != 0 {
			one.version = item.Version
		}
		if item.Outcome != "" {
			one.outcome, one.code = item.Outcome, item.Reason
		}
		if item.ReasonCode != "" {
			one.reasonCode = item.ReasonCode
		}
		one.acceptRisk, one.from = item.AcceptRisk, item.From
		if judged(one) {
			found(one)
		}
	}
	return nil
}

// judged: a failure (bad input, a keystore that did not answer) is no decision of policy.
func judged(d decision) bool { return d.outcome == ledger.Allow || d.outcome == ledger.Deny }
