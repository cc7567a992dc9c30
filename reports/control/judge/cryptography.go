package judge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/reports/control"
)

// legacyEnd is the last day on which 112 bits of strength may protect (NIST SP 800-57 Part 1 Rev 5, Table 4).
func legacyEnd() time.Time { return time.Date(2030, 12, 31, 23, 59, 59, 0, time.UTC) }

// leastLegacy is the strength that is accepted until then.
const leastLegacy = 112

// strength judges the algorithm and strength of every version that can still be used.
func strength(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := table("Algorithm and strength of each key version", "key version|id", "state", "algorithm", "authenticated", "strength (bits)|integer", "protects until|time", "data under it", "impact")
	for _, s := range versions(ev, false) {
		v := s.version.Value
		var f control.Faults
		name := algorithmName(v)
		f.Check(name != "", "its algorithm is not an approved one that this program knows")
		strong := v.StrengthBits >= minStrength || (v.StrengthBits >= leastLegacy && !v.OUPEnd.IsZero() && !v.OUPEnd.After(legacyEnd()))
		f.Check(strong, fmt.Sprintf("strength of %d bits; 128 are demanded, or 112 until the end of 2030", v.StrengthBits))
		t.Add(control.OK, f, control.Proves(s.key.Ref, s.version.Ref), s.id(), string(s.state), name, authenticated(v), control.Int(v.StrengthBits), control.Time(v.OUPEnd),
			list(assetsOf(ev, s.key.Value.ID)), string(s.key.Value.Impact))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each by an approved algorithm of at least 128 bits, or of 112 bits and ending before 2031.", amount.Of(t.Total, "key version")),
		Bad:    fmt.Sprintf("%s too weak, or by an algorithm that is not approved.", of(t.Violating, t.Total, "key version")),
		Empty:  ev.Scope.Title() + " have no version that is not destroyed.",
	})
}

// authenticated says whether what a version makes shows when it was altered. All that this service makes does.
func authenticated(v key.Version) string {
	switch v.Specification().Kind() {
	case hsm.Seals:
		return "yes, AES-GCM"
	case hsm.MACs:
		return "yes, HMAC"
	case hsm.Signs:
		return "yes, signature"
	}
	return "by its user"
}

func assetsOf(ev *control.Evidence, id string) []string {
	var out []string
	for _, a := range ev.Assets {
		if a.Value.Key == id && !a.Value.Deleted {
			out = append(out, a.Value.Label+" ("+a.Value.Location+")")
		}
	}
	return out
}

// macKeys judges the keys that make keyed hashes. Whether all hashes of the data are made with one of them is seen
// outside only.
func macKeys(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := table("Keys that make keyed hashes", "key version|id", "state", "specification", "type", "strength (bits)|integer", "data under it")
	for _, s := range versions(ev, false) {
		v := s.version.Value
		if v.Specification().Kind() != hsm.MACs {
			continue
		}
		var f control.Faults
		f.Check(s.key.Value.Type == key.SymmetricAuth, "its type is "+string(s.key.Value.Type)+": one key, one use")
		f.Check(v.StrengthBits >= minStrength, fmt.Sprintf("strength of %d bits", v.StrengthBits))
		t.Add(control.OK, f, control.Proves(s.key.Ref, s.version.Ref), s.id(), string(s.state), string(v.Specification()), string(s.key.Value.Type), control.Int(v.StrengthBits),
			list(assetsOf(ev, s.key.Value.ID)))
	}
	r := control.Conclude(control.Finding{
		Tables:   []*control.Table{t},
		Good:     fmt.Sprintf("%s for keyed hashes, each of that one use and under every rule of 3.6 and 3.7.", amount.Of(t.Total, "key version")),
		Bad:      fmt.Sprintf("%s not fit for keyed hashes.", of(t.Violating, t.Total, "key version")),
		Question: "Is PAN stored as a hash anywhere, and is each such hash made with a managed key (those listed here, where there are any)?",
	})
	if r.Verdict == control.NoEvidence {
		r.Verdict, r.Summary = control.NeedsHuman, "No key of this instance makes keyed hashes. Whether PAN is hashed elsewhere is not seen here."
	}
	return r
}

// inventoryReview judges 12.3.3: the live list of ciphers and protocols, and its yearly review.
func inventoryReview(c control.Control) control.Evaluator {
	return func(_ context.Context, ev *control.Evidence) control.Result {
		reviews := reviewsOf(ev, c.ID, 366*day, "the review of the cryptographic inventory", oldest(ev))
		return control.Conclude(control.Finding{
			Tables: []*control.Table{cryptoInventory(ev), reviews},
			Good:   "The inventory below is what is in use now, and it was reviewed within the last year.",
			Bad:    "The cryptographic inventory was not reviewed within the last year, or something in use is too weak.",
			Empty:  "Nothing is in use.",
			Open:   "The inventory below is what is in use now. It has not been reviewed yet, and the review is not late.",
			Doubt:  "The inventory has not been reviewed yet, and its time has not run out. Who reviews it, who watches for news of its algorithms, and which plan says what replaces them?",
		})
	}
}

// cryptoInventory lists the algorithms and protocols in use: those of keys from their records, those of the service from
// what this program is made of.
func cryptoInventory(ev *control.Evidence) *control.Table {
	t := table("Cryptographic inventory: algorithms and protocols in use", "algorithm or protocol", "parameters", "where", "purpose", "strength (bits)|integer", "viable until", "uses")
	type line struct {
		name, kind, until string
		bits              int
	}
	seen := map[line][]string{}
	proof := map[line]control.Proof{}
	for _, s := range versionsOf(ev, ev.Keys, false) {
		v := s.version.Value
		l := line{algorithmName(v), string(s.key.Value.Type), viable(v.StrengthBits), v.StrengthBits}
		seen[l] = append(seen[l], s.id())
		p := proof[l]
		p.Rows = append(p.Rows, s.version.Ref)
		proof[l] = p
	}
	lines := make([]line, 0, len(seen))
	for l := range seen {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.name+a.kind, b.name+b.kind) })
	for _, l := range lines {
		var f control.Faults
		f.Check(l.name != "", "an algorithm that this program does not know")
		f.Check(l.bits >= leastLegacy, "too weak")
		p := proof[l]
		p.Rows = p.Rows[:min(20, len(p.Rows))]
		t.Add(control.OK, f, p, l.name, "", "keys", l.kind, control.Int(l.bits), l.until, amount.Of(len(seen[l]), "key version"))
	}
	for _, x := range serviceCryptography() {
		t.Note(control.Info, "", control.Proof{}, x[0], x[1], x[2], x[3], x[4], x[5], "")
	}
	return t
}

// viable says until when a strength may protect (NIST SP 800-57 Part 1 Rev 5, Table 4).
func viable(bits int) string {
	switch {
	case bits >= minStrength:
		return "beyond 2030"
	case bits >= leastLegacy:
		return "end of 2030"
	}
	return "not any more"
}

// serviceCryptography is what the service itself uses besides the keys that it holds (docs/wire-formats.md,
// statement-format.md, ledger-format.md, backup-format.md).
func serviceCryptography() [][6]string {
	const beyond = "beyond 2030"
	return [][6]string{
		{"TLS", "1.3 only", "HTTP API", "transport", "128", beyond},
		{"SHA-256", "RFC 6962 Merkle tree", "ledger", "integrity of the record", "128", beyond},
		{"Ed25519", "C2SP signed note", "ledger", "signature of checkpoints", "128", "beyond 2030; not against a quantum computer"},
		{"ECDSA or Ed25519", "P-256 with SHA-256; RFC 8032", "people, nodes", "signatures of requests, approvals, bundles (DSSE)", "128", "beyond 2030; not against a quantum computer"},
		{"ECDH-ES+A256KW", "P-256, A256CBC-HS512 (RFC 7518)", "sealed shares, backups", "key agreement and wrapping", "128", "beyond 2030; not against a quantum computer"},
		{"Shamir's scheme", "GF(256), ISO/IEC 19592-2", "activation secrets, backup keys", "splitting", "256", beyond},
		{"HMAC-SHA-256, HKDF", "RFC 2104, RFC 5869", "encryption contexts in the ledger", "pseudonyms", "256", beyond},
		{"PBKDF2", "PBES2-HS512+A256KW (RFC 7518)", "private key files of people", "key from a passphrase", "", "as strong as the passphrase"},
		{"CMAC", "SP 800-38B, first bytes", "check values of keys", "telling keys apart", "", beyond},
	}
}

// claimDoubt says why what a keystore claims of its validation is for a person to judge.
func claimDoubt(ks key.Keystore) string {
	switch {
	case ks.Simulated:
		return "a simulator: what it claims counts for nothing in earnest"
	case ks.FIPSLevel == 0:
		return "claims no validation"
	}
	return "its certificate is historical"
}

// modules judges the modules that keep keys: what was validated, and whether that still stands.
func modules(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Modules and devices that keep keys", "keystore|id", "driver", "make and model", "claim", "certificate's status", "certificate until|time", "key versions with material|integer")
	for _, ks := range ev.Keystores {
		v := ks.Value
		if v.RegisteredAt.After(ev.Now) || (!v.RetiredAt.IsZero() && !v.RetiredAt.After(ev.Now)) {
			continue
		}
		held := 0
		for _, s := range versionsOf(ev, ev.ScopedKeys(), false) {
			if s.version.Value.Keystore == v.ID {
				held++
			}
		}
		status := v.StatusAt(ev.Now)
		state, why := control.OK, ""
		var f control.Faults
		switch {
		case held == 0:
			state = control.Info
		case v.FIPSLevel == 0 || status == "historical" || v.Simulated:
			state, why = control.Attention, claimDoubt(v)
		case status == "revoked":
			f = append(f, "its certificate was revoked")
		}
		cells := []string{v.ID, driverName(v), join(v.Make, v.Model), claimOf(v), status, control.Time(v.CertificateUntil), control.Int(held)}
		if why != "" {
			t.Note(state, why, control.Proves(ks.Ref), cells...)
			continue
		}
		t.Add(state, f, control.Proves(ks.Ref), cells...)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s keep keys in scope, each in a validated module whose certificate stands.", amount.Of(t.Total-countState(t, control.Info), "keystore")),
		Open:   fmt.Sprintf("%s, of those that keep keys in scope, not in a validated module whose certificate stands.", of(t.Attention, t.Total-countState(t, control.Info), "keystore")),
		Bad:    fmt.Sprintf("%s whose validation does not stand.", of(t.Violating, t.Total, "keystore")),
		Empty:  "No keystore keeps a key in scope.",
		Doubt:  "Some keystores claim no validation, have one that is historical, or are simulators. Which decision lets them keep these keys, and what replaces them?",
	})
}

func countState(t *control.Table, state control.State) int {
	n := 0
	for _, r := range t.Rows {
		if r.State == state {
			n++
		}
	}
	return n
}

// criticality judges whether each key says how bad its loss would be.
func criticality(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := table("How much depends on each key", "key|id", "label", "classification", "impact", "owner|id", "data under it")
	for _, k := range ev.ScopedKeys() {
		var f control.Faults
		f.Check(k.Value.Impact != "", "its impact was not weighed")
		f.Check(k.Value.Owner != "", "nobody owns it")
		t.Add(control.OK, f, control.Proves(k.Ref), k.Value.ID, k.Value.Label, string(k.Value.Classification), string(k.Value.Impact), k.Value.Owner, list(assetsOf(ev, k.Value.ID)))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each with a FIPS 199 impact and an owner.", amount.Of(t.Total, "key")),
		Bad:    fmt.Sprintf("%s without.", of(t.Violating, t.Total, "key")),
		Empty:  "No key in scope existed at the end of the period.",
	})
}

// transitions judges the history of every version: each step follows from the one before, with who, when and why.
func transitions(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := histories(ev, versions(ev, true))
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s; every step of each is one that SP 800-57 knows, with time, actor and reason.", amount.Of(t.Total, "key version")),
		Bad:    fmt.Sprintf("%s with a step that should not be.", of(t.Violating, t.Total, "key version")),
		Empty:  ev.Scope.Title() + " have no version.",
	})
}

// pairs judges the same of versions that are pairs: one record holds both halves, and its steps are those of both.
func pairs(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	all := versions(ev, true)
	if len(all) == 0 {
		return control.Result{Verdict: control.NoEvidence, Summary: ev.Scope.Title() + " have no version."}
	}
	t := histories(ev, slices.DeleteFunc(slices.Clone(all), func(s scoped) bool { return s.version.Value.Specification().Kind() != hsm.Signs }))
	if t.Total == 0 {
		return control.Result{Verdict: control.NotApplicable, Summary: fmt.Sprintf("None of the %s is a pair of a private and a public key.", amount.Of(len(all), "key version"))}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each on record as one, so that every step is one of both halves.", amount.Of(t.Total, "pair")),
		Bad:    fmt.Sprintf("%s with a step that should not be.", of(t.Violating, t.Total, "pair")),
	})
}

// histories lists the steps of versions, each held against the states and steps of SP 800-57.
func histories(ev *control.Evidence, of []scoped) *control.Table {
	t := table("History of each key version", "key version|id", "state", "steps|integer", "last step|time", "why", "by|id")
	for _, s := range of {
		v := s.version.Value
		var f control.Faults
		from, at := key.State(""), time.Time{}
		for _, step := range v.History {
			f.Check(step.From == from, fmt.Sprintf("a step begins at %q and the one before ended at %q", step.From, from))
			if _, err := key.Between(step.From, step.To); from != "" && err != nil {
				f = append(f, fmt.Sprintf("no key goes from %s to %s", step.From, step.To))
			}
			f.Check(!step.At.IsZero() && !step.At.Before(at), "a step is older than the one before it")
			f.Check(step.Actor != "" && step.Reason != "", "a step has no actor or no reason")
			from, at = step.To, step.At
		}
		f.Check(len(v.History) > 0, "it has no history")
		f.Check(len(v.History) == 0 || from == v.State, "its history does not end at its state")
		last := lastTransition(v, ev.Now)
		t.Add(control.OK, f, control.Proves(s.key.Ref, s.version.Ref).And(sequences(s.origins(ev))...), s.id(), string(s.state), control.Int(len(v.History)), control.Time(last.At), last.Reason, last.Actor)
	}
	return t
}

// destroyed judges what is left of versions that were destroyed.
func destroyed(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	copies := ev.Copies()
	t := table("Destroyed key versions", "key version|id", "destroyed|time", "by|id", "ceremony|id", "decided how", "what is left")
	for _, s := range versions(ev, true) {
		if s.state != key.Destroyed {
			continue
		}
		v := s.version.Value
		last := lastTransition(v, ev.Now)
		proof := control.Proves(s.version.Ref)
		var f control.Faults
		f.Check(len(v.Material.Blob) == 0, "its material is still in the row")
		witnessed := "no ceremony"
		if c := ev.Ceremony(last.Ceremony); c != nil {
			proof.Rows = append(proof.Rows, c.Ref)
			witnessed = className(c.Value.Class)
		}
		left := copies.Left(&v)
		state := control.OK
		if !strings.HasSuffix(left, "no copies known") {
			state = control.Attention
		}
		t.Add(state, f, proof, s.id(), control.Time(last.At), last.Actor, last.Ceremony, witnessed, left)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, of which nothing is left but the record.", amount.Of(t.Total, "destroyed version")),
		Bad:    fmt.Sprintf("%s of which material is left.", of(t.Violating, t.Total, "destroyed version")),
		Empty:  "No version was destroyed.",
		Doubt:  "Registered backups still hold some destroyed versions, and shares that are about open them. When do those copies end?",
	})
}
