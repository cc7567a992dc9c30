package bundle

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/reports"
	"conclave/reports/control"
)

// Kinds of rows that belong to sibling packages, which this one does not import.
const (
	kindCeremony = "ceremony"
	kindScript   = "script_run"
)

// witnesses are the rows that show who signed what, under which policy, beside those that the report was read from:
// the instance, its people with their public keys, the ceremonies by which those came, every ceremony that the period
// touched, and the policy bundles that were in force during it.
//
// Of ceremonies, their records and the custody log those are taken that an entry of the period, first ≤ seq < end, wrote
// last, whatever they say of their time.
func witnesses(src reports.Source, r *reports.Report, first, end uint64) []control.Ref {
	var out []control.Ref
	written := func(ref control.Ref) bool { return ref.Seq >= first && ref.Seq < end }
	take := func(kind string, wanted func(ref control.Ref, body []byte) bool) {
		for ref, body := range src.Rows(kind) {
			if wanted(ref, body) {
				out = append(out, ref)
			}
		}
	}
	all := func(control.Ref, []byte) bool { return true }
	take(string(custodian.KindInstance), all)
	ceremonies := map[string]bool{}
	take(string(custodian.KindPerson), func(_ control.Ref, body []byte) bool {
		keysCameBy(body, ceremonies)
		return true
	})
	lines := custodyOf(r, ceremonies)
	take(string(custodian.KindCustody), func(ref control.Ref, body []byte) bool { return lines(ref, body, written(ref)) })
	take(kindCeremony, func(ref control.Ref, body []byte) bool {
		ceremonies[ref.ID] = ceremonies[ref.ID] || written(ref) || touches(body, r.From, r.To)
		return ceremonies[ref.ID]
	})
	take(kindScript, func(ref control.Ref, _ []byte) bool {
		id, _, _ := strings.Cut(ref.ID, "/") // an earlier run of one that was held anew
		return ceremonies[id] || written(ref)
	})
	take(string(custodian.KindPolicy), all)
	digests := inForce(src, r)
	take(string(custodian.KindPolicyBundle), func(ref control.Ref, _ []byte) bool { return slices.Contains(digests, ref.ID) })
	take(string(custodian.KindPolicyFiles), func(ref control.Ref, body []byte) bool {
		var files custodian.PolicyFiles
		return json.Unmarshal(body, &files) == nil && slices.Contains(digests, files.Digest)
	})
	return out
}

// custodyOf picks the lines of the custody log that the report reads or the period touched, and adds the ceremonies that hold
// the signatures under them.
func custodyOf(r *reports.Report, ceremonies map[string]bool) func(ref control.Ref, body []byte, written bool) bool {
	read := map[control.Ref]bool{}
	for _, ref := range r.Rows() {
		read[ref] = true
	}
	return func(ref control.Ref, body []byte, written bool) bool {
		var e people.CustodyEntry
		if err := json.Unmarshal(body, &e); err != nil {
			return true
		}
		touched := e.RecordedAt.Before(r.To) && (e.SignedAt == nil || !e.SignedAt.Before(r.From))
		if !touched && !written && !read[ref] {
			return false
		}
		ceremonies[e.Recorded] = true
		if e.Signed != "" {
			ceremonies[e.Signed] = true
		}
		return true
	}
}

// keysCameBy adds the ceremonies that brought a person's approval keys, however old: everybody who approved one is in the
// register, with the ceremonies of theirs.
func keysCameBy(body []byte, ceremonies map[string]bool) {
	var p people.Person
	if err := json.Unmarshal(body, &p); err != nil {
		return // the verifier names a row that cannot be read
	}
	for _, k := range p.ApprovalKeys {
		if k.AddedBy != "" {
			ceremonies[k.AddedBy] = true
		}
	}
}

// touches says whether a ceremony was open in a period. One that cannot be read is taken along, for people to see.
func touches(body []byte, from, to time.Time) bool {
	var c control.Ceremony
	if err := json.Unmarshal(body, &c); err != nil {
		return true
	}
	return c.ProposedAt.Before(to) && (c.EndedAt == nil || !c.EndedAt.Before(from))
}

// inForce are the digests of the policy bundles that were in force at some time of the period.
func inForce(src reports.Source, r *reports.Report) []string {
	type term struct {
		digest string
		custodian.PolicyTerm
	}
	var terms []term
	for ref, body := range src.Rows(string(custodian.KindPolicyBundle)) {
		var b custodian.PolicyBundle
		if err := json.Unmarshal(body, &b); err != nil {
			continue
		}
		for _, t := range b.Terms {
			terms = append(terms, term{ref.ID, t})
		}
	}
	slices.SortFunc(terms, func(a, b term) int { return int(a.Number) - int(b.Number) })
	var out []string
	for i, t := range terms {
		ended := i+1 < len(terms) && !terms[i+1].From.After(r.From)
		if t.From.Before(r.To) && !ended {
			out = append(out, t.digest)
		}
	}
	return out
}
