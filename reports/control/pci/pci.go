// Package pci judges the controls of PCI DSS 4.0.1 that the catalogue holds, one file a requirement. The
// rules are the catalogue's pass rules; numbers that the standard does not set are named and marked as ours.
package pci

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/reports/control"
)

// Framework is the catalogue that these evaluators belong to.
const Framework = "pci-dss-4.0.1"

// Evaluators are the evaluators by control id.
func Evaluators() map[string]control.Evaluator {
	return map[string]control.Evaluator{
		"3.6.1":   Procedures,
		"3.6.1.1": Architecture,
		"3.6.1.2": PermittedForms,
		"3.6.1.3": FewestCustodians,
		"3.6.1.4": FewestPlaces,
		"3.7.1":   Generation,
		"3.7.2":   Distribution,
		"3.7.3":   Storage,
		"3.7.4":   Cryptoperiods,
		"3.7.5":   Retirement,
		"3.7.6":   DualControl,
		"3.7.7":   Substitution,
		"3.7.8":   Acknowledgement,
		"3.7.9":   CustomerGuidance,
	}
}

const day = 24 * time.Hour

// outOfScope is the result of a control about keys for account data where there is none: not applicable where
// other keys show that the instance is in use, no evidence where there is no key at all.
func outOfScope(ev *control.Evidence) (control.Result, bool) {
	if len(ev.ScopedKeys()) > 0 {
		return control.Result{}, false
	}
	if len(ev.Keys) == 0 {
		return control.Result{Verdict: control.NoEvidence, Summary: "There is no key in this instance, so there is nothing to judge."}, true
	}
	return control.Result{
		Verdict: control.NotApplicable,
		Summary: fmt.Sprintf("None of the %s is classified cardholder-data or lists pci-dss among its frameworks. If one of them protects account data, its classification is wrong and this verdict with it.",
			count(len(ev.Keys), "key")),
	}, true
}

// scoped is one version of a key for account data.
type scoped struct {
	key     control.Record[key.Key]
	version control.Record[key.Version]
	state   key.State // as of the report
}

// versions lists the versions of keys for account data; destroyed ones on request only.
func versions(ev *control.Evidence, destroyed bool) []scoped {
	return versionsOf(ev, ev.ScopedKeys(), destroyed)
}

func versionsOf(ev *control.Evidence, keys []control.Record[key.Key], destroyed bool) []scoped {
	var out []scoped
	for _, k := range keys {
		for _, v := range ev.VersionsOf(k.Value.ID) {
			state := control.StateAt(v.Value, ev.Now)
			if state == key.Destroyed && !destroyed {
				continue
			}
			out = append(out, scoped{k, v, state})
		}
	}
	return out
}

func (s scoped) id() string { return key.VersionID(s.version.Value.Key, s.version.Value.Version) }

// origins are the entries that record the making of a version.
func (s scoped) origins(ev *control.Evidence) []control.Event {
	var out []control.Event
	for _, e := range ev.Events.About(s.version.Value.Key, "key.create", "key.rotate", "key.move", "key.import") {
		if e.Version == s.version.Value.Version || (e.Version == 0 && e.Type == "key.create" && s.version.Value.Version == 1) {
			out = append(out, e)
		}
	}
	return out
}

func sequences(events []control.Event) []uint64 {
	out := make([]uint64, len(events))
	for i, e := range events {
		out[i] = e.Seq
	}
	return out
}

// algorithmName says by what a version does its work; "" for what this program does not know.
func algorithmName(v key.Version) string {
	switch spec := v.Specification(); {
	case spec.Kind() != hsm.Seals:
		if spec.Known() {
			return string(spec)
		}
	case v.Algorithm == hsm.AlgorithmDerivedAES256GCM:
		return "AES-256-GCM, derived message keys"
	case v.Algorithm == hsm.AlgorithmWrappedAES256GCM:
		return "AES-256-GCM, message keys wrapped by AES-256-KW"
	}
	return ""
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func of(n, total int, noun string) string { return fmt.Sprintf("%d of %s", n, count(total, noun)) }

func list(words []string) string {
	words = slices.Clone(words)
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
