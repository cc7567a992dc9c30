package operation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/ceremony/placement"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// Kinds of alerts about placement.
const (
	AlertPlacement AlertKind = "placement" // keys live where they would not be placed today
	AlertKeystore  AlertKind = "keystore"  // a keystore is less than its record says
)

// maxDrift bounds what one commit records of drift (ours); the rest follows with the next.
const maxDrift = 16 * ledger.MaxRows

// Drifted is what the watch found that is not on record yet.
type Drifted struct {
	Found   []*key.Drift // new, or another than before
	Settled []*key.Drift // on record, and all fits again
	More    bool         // there is more than one commit takes
}

// Nothing reports whether all is on record as it is.
func (d *Drifted) Nothing() bool { return len(d.Found) == 0 && len(d.Settled) == 0 }

// Drift compares how keys stand where they live, and what keystores are, with what is on record of it.
func (j Jobs) Drift(ctx context.Context, view *store.View, now time.Time) (*Drifted, error) {
	is, err := j.drifting(ctx, view, now)
	if err != nil {
		return nil, err
	}
	out := &Drifted{}
	for _, was := range store.All[key.Drift](view, custodian.KindDrift) {
		if is[was.RowID()] == nil {
			out.Settled = append(out.Settled, was)
		} else if is[was.RowID()].Same(was) {
			delete(is, was.RowID())
		}
	}
	for _, d := range is {
		out.Found = append(out.Found, d)
	}
	slices.SortFunc(out.Found, func(a, b *key.Drift) int { return strings.Compare(a.RowID(), b.RowID()) })
	out.More = len(out.Found) > maxDrift || len(out.Settled) > maxDrift
	out.Found, out.Settled = out.Found[:min(len(out.Found), maxDrift)], out.Settled[:min(len(out.Settled), maxDrift)]
	return out, nil
}

// drifting is everything that is not as it was decided, by row id.
func (j Jobs) drifting(ctx context.Context, view *store.View, now time.Time) (map[string]*key.Drift, error) {
	facts, err := j.Env.Custodian.PlacementInput(view, policies.PlacementKey{})
	if err != nil {
		return nil, err
	}
	groups, err := placement.Groups(view, facts.Exceptions)
	if err != nil {
		return nil, err
	}
	standings, err := placement.World{Facts: facts, Ask: placement.By(j.Env.Policies)}.Judge(ctx, groups)
	if err != nil {
		return nil, fmt.Errorf("watching where keys live: %w", err)
	}
	out := map[string]*key.Drift{}
	for _, s := range standings {
		if s.State == placement.Fits {
			continue
		}
		home := key.DriftHome{Keystore: s.Keystore, Stranded: s.State == placement.Stranded, Codes: s.Codes(), Message: s.Reasons[0].Message}
		for _, id := range s.Keys {
			if out[id] == nil {
				out[id] = &key.Drift{Key: id}
			}
			out[id].Homes = append(out[id].Homes, home)
		}
	}
	for _, d := range out {
		slices.SortFunc(d.Homes, func(a, b key.DriftHome) int { return strings.Compare(a.Keystore, b.Keystore) })
	}
	for _, ks := range store.All[key.Keystore](view, custodian.KindKeystore) {
		claims := j.claims(ks, now)
		if ks.Group != nil && ks.Status == key.KeystoreRegistered {
			lacks, err := degraded(view, ks)
			if err != nil {
				return nil, err
			}
			if lacks != "" {
				claims = append(claims, lacks)
			}
		}
		if len(claims) > 0 {
			out[key.KeystoreDriftID(ks.ID)] = &key.Drift{Keystore: ks.ID, Claims: claims}
		}
	}
	return out, nil
}

// claims are what a record says and does not hold: by date, or by what its driver proves on this node.
func (j Jobs) claims(ks *key.Keystore, now time.Time) []string {
	if ks.Status != key.KeystoreRegistered {
		return nil
	}
	var out []string
	if lapsed := ks.Lapsed(now); lapsed != "" {
		out = append(out, lapsed)
	}
	if driver, err := j.Env.Custodian.Keystore(ks.ID); err == nil {
		_, beyond := ks.Within(driver)
		out = append(out, beyond...)
	}
	return out
}

// RecordDrift stores what Drift found on the same view: one entry for the rows that are alike.
func (j Jobs) RecordDrift(tx *store.Tx, d *Drifted) error {
	a := j.byNode(tx, "", "")
	for _, group := range alikeDrift(d.Found) {
		for _, row := range group {
			row.Since = a.at.UTC().Truncate(time.Microsecond)
			if err := tx.Put(custodian.KindDrift, row.RowID(), row); err != nil {
				return err
			}
		}
		if err := tx.Append(a.event("placement.drift", ledger.Target{Type: "keystore", ID: homeOf(group[0])}, driftDetail(group))); err != nil {
			return err
		}
	}
	for _, group := range alikeDrift(d.Settled) {
		for _, row := range group {
			if err := tx.Delete(custodian.KindDrift, row.RowID()); err != nil {
				return err
			}
		}
		if err := tx.Append(a.event("placement.settled", ledger.Target{Type: "keystore", ID: homeOf(group[0])}, driftDetail(group))); err != nil {
			return err
		}
	}
	return nil
}

func homeOf(d *key.Drift) string {
	if d.Key == "" {
		return d.Keystore
	}
	return d.Homes[0].Keystore
}

// driftDetail is what an entry says of rows that are alike: every key by name.
func driftDetail(group []*key.Drift) map[string]any {
	if first := group[0]; first.Key == "" {
		return map[string]any{"claims": first.Claims}
	}
	var ids []string
	for _, d := range group {
		ids = append(ids, d.Key)
	}
	return map[string]any{"homes": group[0].Homes, "keys": ids}
}

// alikeDrift puts rows together that say the same, as many as one entry may change.
func alikeDrift(rows []*key.Drift) [][]*key.Drift {
	var out [][]*key.Drift
	at := map[string]int{}
	for _, d := range rows {
		facts := fmt.Sprintf("%q", []any{d.Homes, d.Keystore, d.Claims})
		i, seen := at[facts]
		if !seen || len(out[i]) == ledger.MaxRows {
			i = len(out)
			at[facts], out = i, append(out, nil)
		}
		out[i] = append(out[i], d)
	}
	return out
}

// placementAlerts tell of drift, one alert for keys that are alike.
func placementAlerts(view *store.View) []Alert {
	var rows []*key.Drift
	for _, d := range store.All[key.Drift](view, custodian.KindDrift) {
		rows = append(rows, d)
	}
	type group struct {
		home key.DriftHome
		keys []string
	}
	var order []*group
	seen := map[string]*group{}
	var out []Alert
	for _, d := range rows {
		if d.Key == "" {
			out = append(out, Alert{Kind: AlertKeystore, Keystore: d.Keystore, Message: "keystore " + d.Keystore + ": " + strings.Join(d.Claims, "; ")})
			continue
		}
		for _, h := range d.Homes {
			id := fmt.Sprintf("%s %t %s", h.Keystore, h.Stranded, strings.Join(h.Codes, ","))
			if seen[id] == nil {
				seen[id] = &group{home: h}
				order = append(order, seen[id])
			}
			seen[id].keys = append(seen[id].keys, d.Key)
		}
	}
	for _, g := range order {
		would := "would get no new version there"
		if g.home.Stranded {
			would = "would not be let stay there"
		}
		out = append(out, Alert{Kind: AlertPlacement, Keystore: g.home.Keystore, Message: fmt.Sprintf("%d keys in %s %s (%s): %s%s; conclave policy place --key %s says where they could live",
			len(g.keys), g.home.Keystore, would, strings.Join(g.home.Codes, ", "), list(g.keys[:min(len(g.keys), keysNamed)]), more(len(g.keys)), g.keys[0])})
	}
	return out
}
