package judge

import (
	"context"
	"fmt"
	"strings"

	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/reports/control"
)

// standardScheme begins the name of every splitting scheme that 3.6.1.2 lets pass without a secure device.
const standardScheme = "ISO/IEC 19592-2"

// PermittedForms judges 3.6.1.2.
func PermittedForms(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	forms := control.NewTable("The form in which each key version exists",
		control.Column{Name: "key version", Type: control.ID}, control.Column{Name: "state", Type: control.Text},
		control.Column{Name: "strength (bits)", Type: control.Integer}, control.Column{Name: "keystore", Type: control.ID},
		control.Column{Name: "form", Type: control.Text}, control.Column{Name: "wrapping strength (bits)", Type: control.Integer})
	for _, s := range versions(ev, false) {
		addForm(ev, forms, s)
	}
	exports, accepted, drifted := exportTable(ev), exceptionTable(ev), driftTable(ev)
	return control.Conclude(control.Finding{
		Tables: []*control.Table{forms, exports, accepted, drifted},
		Good:   fmt.Sprintf("%s, each in a permitted form; no key left a keystore in the clear.", amount.Of(forms.Total, "key version")),
		Bad: fmt.Sprintf("%s not shown to exist in a permitted form; %s in the clear; %s without a decision; %s would not be let stay.",
			of(forms.Violating, forms.Total, "key version"), of(exports.Violating, exports.Total, "export"), amount.Of(accepted.Violating, "accepted risk"),
			of(drifted.Violating, drifted.Total, "place")),
		Doubt:  "Risks about where these keys live are accepted for a time, or their keystores are simulated or no longer what they were. Are the compensating measures in place, and do they suffice?",
		Empty:  ev.Scope.Title() + " have no version that is not destroyed.",
		Unseen: ev.Events.Dropped("key.export"),
	})
}

func addForm(ev *control.Evidence, t *control.Table, s scoped) {
	v := s.version.Value
	var f control.Faults
	proof := []control.Ref{s.key.Ref, s.version.Ref}
	form, strength, pretended := "unknown", 0, false
	ks := ev.Keystore(v.Keystore)
	if ks == nil {
		f = append(f, fmt.Sprintf("keystore %q is not registered", v.Keystore))
	} else {
		proof = append(proof, ks.Ref)
		strength = ks.Value.Capabilities.KeyStrength
		var more []control.Ref
		form, more, f = formOf(ev, ks.Value, v)
		pretended = simulated(ev, ks.Value, v)
		proof = append(proof, more...)
		f.Check(strength >= v.StrengthBits, fmt.Sprintf("wrapping strength of %d bits is below the key's %d", strength, v.StrengthBits))
	}
	cells := []string{s.id(), string(s.state), control.Int(v.StrengthBits), v.Keystore, form, control.Int(strength)}
	if pretended && len(f) == 0 {
		t.Note(control.Attention, "a simulated device is no secure cryptographic device: in earnest, this row breaks the rule", control.Proves(proof...), cells...)
		return
	}
	t.Add(control.OK, f, control.Proves(proof...), cells...)
}

// simulated says whether a version lives in a device, or in a group's member, that is only simulated. Outside development
// mode none is let hold a key.
func simulated(ev *control.Evidence, ks key.Keystore, v key.Version) bool {
	if ks.Group == nil {
		return ks.Simulated
	}
	for _, c := range v.Material.Copies {
		if member := ev.Keystore(c.Member); member != nil && member.Value.Simulated {
			return true
		}
	}
	return false
}

// formOf says in what form a version is kept: in a group, by every member that holds it.
func formOf(ev *control.Evidence, ks key.Keystore, v key.Version) (form string, proof []control.Ref, f control.Faults) {
	if ks.Group == nil {
		form, set, f := formIn(ev, ks)
		if set != nil {
			proof = append(proof, *set)
		}
		return form, proof, f
	}
	var forms []string
	for _, c := range v.Material.Copies {
		member := ev.Keystore(c.Member)
		if member == nil {
			f = append(f, fmt.Sprintf("member %q is not registered", c.Member))
			continue
		}
		proof = append(proof, member.Ref)
		f.Check(c.CheckValue == v.CheckValue, fmt.Sprintf("member %s holds a key of check value %s", c.Member, c.CheckValue))
		one, set, faults := formIn(ev, member.Value)
		if set != nil {
			proof = append(proof, *set)
		}
		forms, f = append(forms, c.Member+": "+one), append(f, faults...)
	}
	f.Check(len(forms) > 0, "no member holds it")
	return "in each member of a group, between which it passes wrapped only; " + strings.Join(forms, "; "), proof, f
}

// formIn says in what form a keystore holds its keys, by which share set's row, and what is wrong with it.
func formIn(ev *control.Evidence, ks key.Keystore) (form string, set *control.Ref, f control.Faults) {
	if ks.Capabilities.StoresKeys {
		form = "inside the keystore's device"
		if ks.Simulated {
			form = "inside a simulated device"
		}
		f.Check(ks.FIPSLevel > 0, "the keystore claims no validated device")
		if ks.ShareSet == "" {
			return form, nil, f
		}
	} else {
		form = "wrapped under the keystore's activation secret"
		if ks.ShareSet == "" {
			f = append(f, "the activation secret is not split among custodians")
			return form, nil, f
		}
	}
	found := ev.ShareSet(ks.ShareSet)
	if found == nil {
		f = append(f, fmt.Sprintf("share set %q is not registered", ks.ShareSet))
		return form, nil, f
	}
	ss := found.Value
	f.Check(ss.Threshold >= 2 && ss.Total >= ss.Threshold, fmt.Sprintf("threshold is %d of %d, at least 2 are demanded", ss.Threshold, ss.Total))
	f.Check(strings.HasPrefix(ss.Scheme, standardScheme), fmt.Sprintf("scheme %q is not %s", ss.Scheme, standardScheme))
	f.Check(ss.RNG != "", "the generator of the shares is not recorded")
	return fmt.Sprintf("%s, which exists as %d shares of which %d open it (%s)", form, ss.Total, ss.Threshold, ss.Scheme), &found.Ref, f
}

// exportTable lists the exports of the period. The form is the entry's reason code; only a wrapped form passes.
func exportTable(ev *control.Evidence) *control.Table {
	t := control.NewTable("Keys that left a keystore in the period",
		control.Column{Name: "at", Type: control.Instant}, control.Column{Name: "key", Type: control.ID},
		control.Column{Name: "by", Type: control.ID}, control.Column{Name: "form", Type: control.Text},
		control.Column{Name: "ceremony", Type: control.ID})
	for _, e := range ev.Events.Of("key.export") {
		if !ev.InPeriod(e.At) || (e.Outcome != "done" && e.Outcome != "allow") {
			continue
		}
		var f control.Faults
		f.Check(e.Reason == "wrapped" || e.Reason == "sealed-share", "the entry does not say that the key left wrapped")
		f.Check(e.Ceremony != "", "no ceremony is cited")
		t.Add(control.OK, f, control.Proof{Ledger: []uint64{e.Seq}}, control.Time(e.At), e.Target, e.Actor, e.Reason, e.Ceremony)
	}
	return t
}

// driftTable lists keys for account data that live where policy would not place them any more, and what does not hold of
// the records of their keystores, as the watch last found it.
func driftTable(ev *control.Evidence) *control.Table {
	t := control.NewTable("Places that are not as they were decided",
		control.Column{Name: "key", Type: control.ID}, control.Column{Name: "keystore", Type: control.ID},
		control.Column{Name: "since", Type: control.Instant}, control.Column{Name: "found", Type: control.Text})
	scoped, homes := map[string]bool{}, map[string]bool{}
	for _, k := range ev.ScopedKeys() {
		scoped[k.Value.ID] = true
		for _, v := range ev.VersionsOf(k.Value.ID) {
			homes[v.Value.Keystore] = homes[v.Value.Keystore] || v.Value.State.HasMaterial()
		}
	}
	for _, d := range ev.Drifts {
		if d.Value.Since.After(ev.Now) {
			continue
		}
		if homes[d.Value.Keystore] {
			t.Note(control.Attention, strings.Join(d.Value.Claims, "; "), control.Proves(d.Ref), "", d.Value.Keystore, control.Time(d.Value.Since), "the record claims more than holds")
		}
		for _, h := range d.Value.Homes {
			if !scoped[d.Value.Key] {
				continue
			}
			cells := []string{d.Value.Key, h.Keystore, control.Time(d.Value.Since), strings.Join(h.Codes, ", ")}
			if h.Stranded {
				t.Add(control.OK, control.Faults{"policy would not let it stay: " + h.Message}, control.Proves(d.Ref), cells...)
				continue
			}
			t.Note(control.Attention, "it stays, and gets no new version there: "+h.Message, control.Proves(d.Ref), cells...)
		}
	}
	return t
}
