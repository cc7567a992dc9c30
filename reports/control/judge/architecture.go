package judge

import (
	"context"
	"fmt"

	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/reports/control"
)

// Architecture judges 3.6.1.1. It covers every key of the instance, so that a key shared between production
// and test is found whatever its classification.
func Architecture(_ context.Context, ev *control.Evidence) control.Result {
	keys, shared := keyInventory(ev)
	stores := keystoreInventory(ev)
	bad := fmt.Sprintf("The inventory has gaps: %s and %s.", of(keys.Violating, keys.Total, "key version"), of(stores.Violating, stores.Total, "keystore"))
	if shared > 0 {
		bad = fmt.Sprintf("%s in more than one environment. ", amount.Of(shared, "check value")) + bad
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{keys, stores},
		Good: fmt.Sprintf("%s and %s, each listed with what is demanded: algorithm, strength, use, expiry, owner, location. No check value occurs in two environments of this instance; keys of other instances are not seen here.",
			amount.Of(keys.Total, "key version"), amount.Of(stores.Total, "keystore")),
		Bad:   bad,
		Empty: "There is neither a key nor a keystore to list.",
	})
}

// keyInventory lists every version that is not destroyed, and counts check values seen in two environments.
func keyInventory(ev *control.Evidence) (*control.Table, int) {
	t := listing(ev, "Keys: algorithm, strength, use and expiry", "key version|id", "environment", "state", "algorithm", "strength (bits)|integer", "use", "protects until|time", "keystore|id",
		"owner|id", "check value")
	all := versionsOf(ev, ev.Keys, false)
	environments := map[string]map[string]bool{}
	for _, s := range all {
		value := s.version.Value.CheckValue
		if value == "" {
			continue
		}
		if environments[value] == nil {
			environments[value] = map[string]bool{}
		}
		environments[value][s.key.Value.Environment] = true
	}
	shared := 0
	for _, seen := range environments {
		if len(seen) > 1 {
			shared++
		}
	}
	for _, s := range all {
		k, v := s.key.Value, s.version.Value
		var f control.Faults
		f.Check(algorithmName(v) != "", "no algorithm recorded")
		f.Check(v.StrengthBits > 0, "no strength recorded")
		f.Check(k.Type != "", "no use recorded")
		f.Check(!v.OUPEnd.IsZero(), "no expiry recorded")
		f.Check(v.Keystore != "", "no keystore recorded")
		f.Check(k.Owner != "", "no owner recorded")
		f.Check(k.Environment != "", "no environment recorded")
		f.Check(v.CheckValue != "", "no check value recorded, so equal keys cannot be found")
		if seen := environments[v.CheckValue]; len(seen) > 1 {
			f = append(f, "same check value in "+list(names(seen)))
		}
		t.Add(control.OK, f, control.Proves(s.key.Ref, s.version.Ref), s.id(), k.Environment, string(s.state),
			algorithmName(v), control.Int(v.StrengthBits), string(k.Type), control.Time(v.OUPEnd), v.Keystore, k.Owner, v.CheckValue)
	}
	return t, shared
}

func keystoreInventory(ev *control.Evidence) *control.Table {
	t := listing(ev, "Keystores: type, module and location", "keystore|id", "driver", "make and model", "FIPS claim", "custody", "environment", "location", "answerable|id")
	for _, s := range ev.Keystores {
		ks := s.Value
		if ks.RegisteredAt.After(ev.Now) {
			continue
		}
		var f control.Faults
		f.Check(ks.Driver != "", "no driver recorded")
		f.Check(ks.Location != "", "no location recorded")
		t.Add(control.OK, f, control.Proves(s.Ref), ks.ID, driverName(ks), join(ks.Make, ks.Model), claimOf(ks),
			string(ks.Custody), ks.Environment, ks.Location, ks.Controller)
	}
	return t
}

func driverName(ks key.Keystore) string {
	if ks.Simulated {
		return ks.Driver + " (simulated)"
	}
	return ks.Driver
}

func claimOf(ks key.Keystore) string {
	if ks.FIPSStandard == "" || ks.FIPSLevel == 0 {
		return "no claim"
	}
	claim := fmt.Sprintf("%s level %d", ks.FIPSStandard, ks.FIPSLevel)
	if ks.Certificate != "" {
		claim += ", certificate " + ks.Certificate
	}
	if ks.CertificateStatus != "" {
		claim += " (" + ks.CertificateStatus + ")"
	}
	return claim
}

func names(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for n := range set {
		out = append(out, n)
	}
	return out
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}
