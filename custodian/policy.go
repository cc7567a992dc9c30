package custodian

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/store"
	"conclave/policies"
)

// PolicyRow is the id of the one row of KindPolicy.
const PolicyRow = "policy"

// PolicyInForce names the bundle that decides. Row kind KindPolicy, id PolicyRow. An instance made before bundles
// were stored has none until its bundle is first replaced: Instance.PolicyDigest stands for it.
type PolicyInForce struct {
	Digest   string    `json:"digest"`
	Number   uint64    `json:"number"` // 1 is the one that genesis named
	Since    time.Time `json:"since"`
	Ceremony string    `json:"ceremony"` // "genesis", or the ceremony that put it in force
}

// BundleInForce is the digest; package backup, which is below this one, knows the row by it.
func (p *PolicyInForce) BundleInForce() string { return p.Digest }

// PolicyBundle is a bundle that the instance keeps: in force, once in force, or proposed. Row kind KindPolicyBundle,
// id its digest. Its files are in rows of KindPolicyFiles.
type PolicyBundle struct {
	Digest string `json:"digest"`
	Parts  int    `json:"parts"` // rows of files
	Files  int    `json:"files"`
	Bytes  int    `json:"bytes"`
	// Name is what its author calls it.
	Name string `json:"name"`
	// Signer is who signed it, Envelope their signature (DSSE over a policies bundle statement). None for the one
	// of genesis, whose digest everybody signed in the genesis file.
	Signer   string         `json:"signer,omitempty"`
	Envelope jsontext.Value `json:"envelope,omitempty"`
	AddedBy  string         `json:"added_by"`
	AddedAt  time.Time      `json:"added_at"`
	// Check is what the program found when the bundle was handed in; nil for the one of genesis.
	Check *policies.Check `json:"check,omitempty"`
	Terms []PolicyTerm    `json:"terms,omitempty"` // when it was in force
}

// PolicyTerm is one time during which a bundle was in force.
type PolicyTerm struct {
	Number    uint64    `json:"number"` // its end is the start of the next
	From      time.Time `json:"from"`
	Ceremony  string    `json:"ceremony"`
	Operation string    `json:"operation"` // genesis, policy.activate, policy.recover
}

// PolicyFiles is a part of a bundle's files. Row kind KindPolicyFiles, id policyFilesID(digest, part).
type PolicyFiles struct {
	Digest string            `json:"digest"`
	Part   int               `json:"part"`
	Files  map[string]string `json:"files"`
}

// PolicyBacktest is what a proposed bundle would have changed. Row kind KindBacktest, id the proposal's digest for the
// newest, and that with the report's digest for an earlier one that an open ceremony rests on.
type PolicyBacktest struct {
	Bundle  string `json:"bundle"`
	Against string `json:"against"` // bundle in force when it was made
	BacktestSummary
	// Report is the whole of it, canonical; ReportSHA256, in the summary, is over these bytes.
	Report     jsontext.Value `json:"report"`
	AskedBy    string         `json:"asked_by"`
	FinishedAt time.Time      `json:"finished_at"`
}

// BacktestSummary is what approvers sign of a back-test: counts, and the digest of the whole report.
type BacktestSummary struct {
	Decisions    int    `json:"decisions"`     // recorded decisions that were replayed
	NewlyDenied  int    `json:"newly_denied"`  // of these, allowed by the bundle in force and not by the proposal
	NewlyAllowed int    `json:"newly_allowed"` // the other way round
	Unanswered   int    `json:"unanswered"`    // of these, without an answer by the proposal, which is a refusal
	Placements   int    `json:"placements"`    // keys that could live elsewhere, or no longer where they are
	Lifecycles   int    `json:"lifecycles"`    // keys whose cryptoperiods would be judged otherwise
	Quorums      int    `json:"quorums"`       // operations that would take something else
	ReportSHA256 string `json:"report_sha256"`
}

func policyFilesID(digest string, part int) string { return fmt.Sprintf("%s/%d", digest, part) }

// policyPartBytes bounds one row of files: a character takes at most two bytes in JSON, so that a row stays below
// the store's bound of 1 MiB.
const policyPartBytes = 384 << 10

// PutPolicyBundle stores a bundle's files and then its record, to be followed by an Append. Tests are left out: what
// is stored is what the digest covers.
func PutPolicyBundle(tx *store.Tx, record PolicyBundle, files policies.Files) error {
	deciding := files.Deciding()
	if d := deciding.Digest(); d != record.Digest {
		return fmt.Errorf("storing policy bundle %s: its files have digest %s", record.Digest, d)
	}
	part, size := PolicyFiles{Digest: record.Digest, Files: map[string]string{}}, 0
	flush := func() error {
		err := tx.Put(KindPolicyFiles, policyFilesID(record.Digest, part.Part), part)
		part, size = PolicyFiles{Digest: record.Digest, Part: part.Part + 1, Files: map[string]string{}}, 0
		return err
	}
	record.Files, record.Bytes = len(deciding), 0
	for _, name := range deciding.Paths() {
		text := deciding[name]
		if size > 0 && size+len(text) > policyPartBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		part.Files[name] = string(text)
		size, record.Bytes = size+len(text), record.Bytes+len(text)
	}
	if err := flush(); err != nil {
		return err
	}
	record.Parts = part.Part
	return tx.Put(KindPolicyBundle, record.Digest, record)
}

func earlierBacktestID(bundle, report string) string { return bundle + "/" + report }

// BacktestOf is the back-test of a bundle with this report, if it is kept, or else the newest.
func BacktestOf(view *store.View, bundle, report string) (*PolicyBacktest, error) {
	newest, _, err := store.Get[PolicyBacktest](view, KindBacktest, bundle)
	if err == nil && newest.ReportSHA256 == report {
		return newest, nil
	}
	earlier, _, other := store.Get[PolicyBacktest](view, KindBacktest, earlierBacktestID(bundle, report))
	if errors.Is(other, store.ErrNotFound) {
		return newest, err
	}
	return earlier, other
}

// PutBacktest stores the newest back-test of a bundle, to be followed by an Append. Those before stay while a ceremony
// that is open rests on them, as named says of a report's digest: trying a bundle again ends nobody's proposal.
func PutBacktest(tx *store.Tx, row PolicyBacktest, named func(report string) bool) error {
	var before []*PolicyBacktest
	for r, b := range store.All[PolicyBacktest](tx.View(), KindBacktest) {
		if b.Bundle != row.Bundle {
			continue
		}
		if r.ID == row.Bundle {
			before = append(before, b)
		} else if !named(b.ReportSHA256) {
			if err := tx.Delete(KindBacktest, r.ID); err != nil {
				return err
			}
		}
	}
	for _, b := range before {
		if named(b.ReportSHA256) {
			if err := tx.Put(KindBacktest, earlierBacktestID(b.Bundle, b.ReportSHA256), b); err != nil {
				return err
			}
		}
	}
	return tx.Put(KindBacktest, row.Bundle, row)
}

// DeletePolicyBundle removes a bundle that was never in force, and its back-tests, to be followed by an Append.
func DeletePolicyBundle(tx *store.Tx, record *PolicyBundle) error {
	for r, b := range store.All[PolicyBacktest](tx.View(), KindBacktest) {
		if b.Bundle == record.Digest {
			if err := tx.Delete(KindBacktest, r.ID); err != nil {
				return err
			}
		}
	}
	for i := range record.Parts {
		if err := tx.Delete(KindPolicyFiles, policyFilesID(record.Digest, i)); err != nil {
			return err
		}
	}
	return tx.Delete(KindPolicyBundle, record.Digest)
}

// StoredPolicy reads a bundle that the instance keeps. store.ErrNotFound when it keeps none of this digest,
// *store.TamperedError when its rows are not what the ledger recorded.
func StoredPolicy(view *store.View, digest string) (*PolicyBundle, policies.Files, error) {
	record, _, err := store.Get[PolicyBundle](view, KindPolicyBundle, digest)
	if err != nil {
		return nil, nil, err
	}
	files := policies.Files{}
	for i := range record.Parts {
		id := policyFilesID(digest, i)
		part, err := store.Peek[PolicyFiles](view, KindPolicyFiles, id)
		if err != nil {
			return record, nil, err
		}
		for name, text := range part.Files {
			files[name] = []byte(text)
		}
	}
	if files.Digest() != digest {
		return record, nil, &store.TamperedError{Kind: KindPolicyBundle, ID: digest}
	}
	return record, files, nil
}

// InForce says which bundle decides by this view.
func InForce(view *store.View) (PolicyInForce, error) {
	row, err := store.Peek[PolicyInForce](view, KindPolicy, PolicyRow)
	if err == nil {
		return *row, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return PolicyInForce{}, err
	}
	instance, err := store.Peek[Instance](view, KindInstance, InstanceRow)
	if err != nil { // not there at all is a contradiction too: there is no ledger without it
		return PolicyInForce{}, &store.TamperedError{Kind: KindInstance, ID: InstanceRow}
	}
	return PolicyInForce{Digest: instance.PolicyDigest, Number: 1, Ceremony: "genesis"}, nil
}

// Policies is the bundle in force now. It is never nil: one that cannot be used refuses everything.
func (s *Service) Policies() *policies.Engine { return s.PoliciesOf(s.store.View()) }

// PoliciesOf is the bundle in force by a view, under which whatever is judged by that view is judged.
func (s *Service) PoliciesOf(view *store.View) *policies.Engine { return s.bundles.of(view) }

// StoredPolicies is a bundle that the instance keeps, compiled: one that is proposed, or was in force.
func (s *Service) StoredPolicies(view *store.View, digest string) (*policies.Engine, error) {
	return s.bundles.stored(view, digest)
}

// CarriedPolicies is the bundle that this program carries.
func (s *Service) CarriedPolicies() *policies.Engine { return s.bundles.carried }

// PolicyHistory is when which bundle was in force, oldest first; the last one is in force. Terms on rows that
// contradict the ledger are missing.
func PolicyHistory(view *store.View) []PolicyEntry {
	var out []PolicyEntry
	for row := range view.List(KindPolicyBundle) {
		if b, ok := row.Value.(*PolicyBundle); ok {
			for _, t := range b.Terms {
				out = append(out, PolicyEntry{Digest: b.Digest, PolicyTerm: t})
			}
		}
	}
	if inForce, err := InForce(view); err == nil && len(out) == 0 {
		out = append(out, PolicyEntry{Digest: inForce.Digest, PolicyTerm: PolicyTerm{Number: inForce.Number, From: inForce.Since, Ceremony: inForce.Ceremony, Operation: "genesis"}})
	}
	slices.SortFunc(out, func(a, b PolicyEntry) int { return cmp.Compare(a.Number, b.Number) })
	for i := 1; i < len(out); i++ {
		out[i-1].Until = &out[i].From
	}
	return out
}

// PolicyEntry is one line of the history.
type PolicyEntry struct {
	Digest string     `json:"digest"`
	Until  *time.Time `json:"until,omitempty"` // nil while it is in force
	PolicyTerm
}

// PolicyOfMark finds the bundle that an entry's policy mark names; "" when the instance keeps none such.
func PolicyOfMark(view *store.View, mark string) string {
	if mark == "" {
		return ""
	}
	for row := range view.List(KindPolicyBundle) {
		if strings.HasPrefix(row.ID, mark) {
			return row.ID
		}
	}
	if inForce, err := InForce(view); err == nil && strings.HasPrefix(inForce.Digest, mark) {
		return inForce.Digest
	}
	return ""
}

// PutInForce makes a stored bundle the one in force, to be followed by an Append. before is the bundle until now,
// which is stored where the instance has not done so when it was made: every bundle that was in force is kept.
func PutInForce(tx *store.Tx, digest, ceremony, operation string, before *policies.Engine) error {
	view := tx.View()
	inForce, err := InForce(view)
	if err == nil {
		if err := keepFirst(tx, inForce, before); err != nil {
			return err
		}
	}
	number := inForce.Number
	for _, e := range PolicyHistory(view) {
		number = max(number, e.Number)
	}
	record, _, err := store.Get[PolicyBundle](tx.View(), KindPolicyBundle, digest)
	if err != nil {
		return err
	}
	next := PolicyInForce{Digest: digest, Number: number + 1, Since: tx.Now(), Ceremony: ceremony}
	record.Terms = append(slices.Clone(record.Terms), PolicyTerm{Number: next.Number, From: next.Since, Ceremony: ceremony, Operation: operation})
	if err := tx.Put(KindPolicyBundle, digest, record); err != nil {
		return err
	}
	return tx.Put(KindPolicy, PolicyRow, next)
}

func keepFirst(tx *store.Tx, inForce PolicyInForce, before *policies.Engine) error {
	_, err := tx.View().Get(KindPolicyBundle, inForce.Digest)
	if !errors.Is(err, store.ErrNotFound) || before.Problem() != nil || before.Digest() != inForce.Digest {
		return nil
	}
	return PutPolicyBundle(tx, GenesisBundle(before, inForce.Since), before.Files())
}

// GenesisBundle is the record of the bundle that genesis named.
func GenesisBundle(engine *policies.Engine, at time.Time) PolicyBundle {
	return PolicyBundle{Digest: engine.Digest(), Name: "genesis", AddedBy: "genesis", AddedAt: at,
		Terms: []PolicyTerm{{Number: 1, From: at, Ceremony: "genesis", Operation: "genesis"}}}
}
