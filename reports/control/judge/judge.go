// Package judge holds the evaluators: each judges one matter, and controls of several frameworks may share it. The
// rules are the catalogue's pass rules; numbers that the standard does not set are named and marked as ours.
package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/reports/control"
)

const day = 24 * time.Hour

// outOfScope is the result of a control about keys in scope where there is none: not applicable where
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
		Summary: fmt.Sprintf("None of the %s %s. If one of them should, its classification is wrong and this verdict with it.",
			amount.Of(len(ev.Keys), "key"), ev.Scope.Marked()),
	}, true
}

// scoped is one version of a key in scope.
type scoped struct {
	key     control.Record[key.Key]
	version control.Record[key.Version]
	state   key.State // as of the report
}

// versions lists the versions of keys in scope; destroyed ones on request only.
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

func of(n, total int, noun string) string { return fmt.Sprintf("%d of %s", n, amount.Of(total, noun)) }

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
