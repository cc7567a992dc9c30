package judge

import (
	"context"
	"fmt"
	"strings"

	"conclave/custodian/amount"
	"conclave/reports/control"
)

// maxPlaces is how many keystores may hold versions of one key (ours: primary, replica, backup).
const maxPlaces = 3

// FewestPlaces judges 3.6.1.4.
func FewestPlaces(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := control.NewTable("Places that hold each key",
		control.Column{Name: "key", Type: control.ID}, control.Column{Name: "keystores", Type: control.Text},
		control.Column{Name: "locations", Type: control.Text}, control.Column{Name: "registered by", Type: control.Text},
		control.Column{Name: "copies with the database", Type: control.Text})
	for _, k := range ev.ScopedKeys() {
		var f control.Faults
		var stores, locations, reasons []string
		proof := []control.Ref{k.Ref}
		outside := false
		seen := map[string]bool{}
		for _, id := range placesOf(ev, k.Value.ID) {
			if seen[id] {
				continue
			}
			seen[id] = true
			stores = append(stores, id)
			ks := ev.Keystore(id)
			if ks == nil {
				f = append(f, fmt.Sprintf("keystore %q is not registered", id))
				continue
			}
			proof = append(proof, ks.Ref)
			f.Check(ks.Value.Location != "", fmt.Sprintf("keystore %s has no location", ks.Value.ID))
			f.Check(ks.Value.RegisteredBy != "", fmt.Sprintf("the registration of keystore %s is not recorded", ks.Value.ID))
			locations = append(locations, ks.Value.Location)
			reasons = append(reasons, ks.Value.RegisteredBy)
			outside = outside || !ks.Value.Capabilities.StoresKeys
		}
		if len(stores) == 0 {
			continue // all versions destroyed: the key lives nowhere
		}
		f.Check(len(stores) <= maxPlaces, fmt.Sprintf("%d keystores, at most %d are allowed", len(stores), maxPlaces))
		t.Add(control.Attention, f, control.Proves(proof...), k.Value.ID, list(stores), strings.Join(locations, "; "), list(reasons), yes(outside))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, backupTable(ev)},
		Good:   fmt.Sprintf("%s, each in at most %d keystores that have a location and a recorded registration.", amount.Of(t.Total, "key"), maxPlaces),
		Bad:    fmt.Sprintf("%s in too many places, or in places that nobody described.", of(t.Violating, t.Total, "key")),
		Holds:  true,
		Empty:  ev.Scope.Title() + " have no version that is not destroyed.",
		Doubt: "Wrapped keys of a keystore that stores none itself lie in this instance's database. Which replicas, snapshots and backups exist of that database besides registered ones that are listed here, and of " +
			"any device that stores keys itself; where is each, who can read it, and what is the reason for each of them, and for each keystore listed here?",
	})
}

// backupTable lists the registered backups that may still exist: each holds the wrapped keys of its time.
func backupTable(ev *control.Evidence) *control.Table {
	t := control.NewTable("Registered backups of the database that may still exist",
		control.Column{Name: "backup", Type: control.ID}, control.Column{Name: "file", Type: control.Text}, control.Column{Name: "node", Type: control.ID},
		control.Column{Name: "made", Type: control.Instant}, control.Column{Name: "opened by shares of", Type: control.Text})
	for _, c := range ev.Backups {
		b := c.Value
		if b.At.After(ev.Now) || !b.Outstanding() && (b.GoneAt == nil || !b.GoneAt.After(ev.Now)) {
			continue
		}
		t.Add(control.Info, nil, control.Proves(c.Ref), b.ID, b.File, b.Node, control.Time(b.At), fmt.Sprintf("%s, epoch %d, and %d of its holders", b.ShareSet, b.Epoch, b.Threshold))
	}
	return t
}

// placesOf are the keystores that hold versions of a key: of a group the members that do.
func placesOf(ev *control.Evidence, keyID string) []string {
	var out []string
	for _, v := range ev.VersionsOf(keyID) {
		if control.StateAt(v.Value, ev.Now) == "destroyed" {
			continue
		}
		if len(v.Value.Material.Copies) == 0 {
			out = append(out, v.Value.Keystore)
		}
		for _, c := range v.Value.Material.Copies {
			out = append(out, c.Member)
		}
	}
	return out
}
