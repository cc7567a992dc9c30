// Package monitor watches without being asked: rules over the ledger's entries as they come, which are data, and once a
// day every control of every framework. What it finds is an entry in the ledger, from where metrics, the SIEM and a signed
// webhook have it.
package monitor

import (
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"conclave/custodian/ledger"
	"conclave/custodian/usage"
)

//go:embed rules.json
var carried []byte

// Rule says what to look for in the ledger. Either FirstUse, or a count of matching uses by one subject within a time.
type Rule struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// FirstUse: an application's first successful use of a key.
	FirstUse bool `json:"first_use,omitempty"`
	// Notice: worth knowing, not alarming.
	Notice    bool     `json:"notice,omitempty"`
	Operation string   `json:"operation,omitempty"` // type with everything under it; "" for any
	Outcome   string   `json:"outcome,omitempty"`   // "" for any
	By        []string `json:"by,omitempty"`        // what makes a subject: actor, key, ceremony
	Count     int      `json:"count,omitempty"`
	Seconds   int      `json:"seconds,omitempty"` // between the first and the last of them
}

// Bounds of rules.
const (
	maxRules   = 64
	maxSeconds = 86400
	maxFile    = 64 << 10
)

var ruleID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// LoadRules reads rules from a file, or those that the program carries where path is "".
func LoadRules(path string) ([]Rule, error) {
	data := carried
	if path != "" {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("reading rules: %w", err)
		}
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading rules: %d bytes, at most %d allowed", len(data), maxFile)
	}
	var rules []Rule
	if err := json.Unmarshal(data, &rules, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	if len(rules) > maxRules {
		return nil, fmt.Errorf("reading rules: %d rules, at most %d allowed", len(rules), maxRules)
	}
	seen := map[string]bool{}
	for i, r := range rules {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("reading rules: rule %d: %w", i, err)
		}
		if seen[r.ID] {
			return nil, fmt.Errorf("reading rules: rule %d: id %q twice", i, r.ID)
		}
		seen[r.ID] = true
	}
	return rules, nil
}

func (r *Rule) check() error {
	switch {
	case !ruleID.MatchString(r.ID):
		return fmt.Errorf("id %.60q: allowed: lower-case letters, digits and -, 40 at most", r.ID)
	case r.Title == "" || len(r.Title) > 200:
		return fmt.Errorf("%s: title: allowed: 1 to 200 bytes", r.ID)
	case !slices.Contains([]string{"", "allow", "deny", "done", "failed"}, r.Outcome):
		return fmt.Errorf("%s: outcome %.20q: allowed: allow, deny, done, failed", r.ID, r.Outcome)
	case r.FirstUse && (r.Count != 0 || r.Seconds != 0 || len(r.By) > 0 || r.Operation != "" || r.Outcome != ""):
		return fmt.Errorf("%s: first_use stands alone", r.ID)
	case r.FirstUse:
		return nil
	case r.Count < 1 || r.Seconds < 1 || r.Seconds > maxSeconds:
		return fmt.Errorf("%s: allowed: count of 1 or more within 1 to %d seconds", r.ID, maxSeconds)
	case len(r.By) == 0:
		return fmt.Errorf("%s: by: allowed: one or more of actor, key, ceremony", r.ID)
	}
	for _, b := range r.By {
		if !slices.Contains([]string{"actor", "key", "ceremony"}, b) {
			return fmt.Errorf("%s: by %.20q: allowed: actor, key, ceremony", r.ID, b)
		}
	}
	return nil
}

// use is one thing that an entry records: itself, or an item of a batch.
type use struct {
	key     string
	outcome ledger.Outcome
}

func usesOf(e *ledger.Entry) []use {
	if !strings.HasPrefix(e.Type, usage.Prefix) {
		out := use{outcome: e.Outcome}
		if e.Target.Type == "key" {
			out.key = e.Target.ID
		}
		return []use{out}
	}
	var out []use
	for _, i := range usage.Items(e) {
		out = append(out, use{i.Key, i.Outcome})
	}
	return out
}

// subject is who or what a rule counts by, "" where the rule does not apply.
func (r *Rule) subject(e *ledger.Entry, u use) string {
	if r.Operation != "" && e.Type != r.Operation && !strings.HasPrefix(e.Type, r.Operation+".") || r.Outcome != "" && string(u.outcome) != r.Outcome {
		return ""
	}
	var parts []string
	for _, b := range r.By {
		part := map[string]string{"actor": e.Actor.String(), "key": u.key, "ceremony": e.Ceremony}[b]
		if part == "" {
			return ""
		}
		parts = append(parts, b+" "+part)
	}
	return strings.Join(parts, ", ")
}
