package bundles

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// Document is a policy bundle in words: the written procedures that PCI DSS 4.0.1 3.6.1, 3.7.1 to 3.7.8 and SP 800-57
// Part 2 section 5 ask for, as they are enforced.
type Document struct {
	Title    string    `json:"title"`
	Facts    []Fact    `json:"facts"`
	Sections []Section `json:"sections"`
}

// Fact is a name and a value.
type Fact struct{ Name, Value string }

// Section is one table with what it means.
type Section struct {
	Title string     `json:"title"`
	Intro string     `json:"intro"`
	Head  []string   `json:"head"`
	Rows  [][]string `json:"rows"`
}

// Document writes the bundle in force out. What can be asked is asked, so that it says what is enforced, not what a
// table seems to mean.
func (k *Keeper) Document(ctx context.Context, view *store.View) (*Document, error) {
	e := k.door.PoliciesOf(view)
	if err := e.Problem(); err != nil {
		return nil, err
	}
	instance := k.door.Instance()
	d := &Document{Title: "Key management procedures of " + instance.Name, Facts: []Fact{
		{"Instance", instance.ID}, {"Mode", string(instance.Mode)}, {"Policy bundle (SHA-256)", e.Digest()}}}
	history := custodian.PolicyHistory(view)
	if n := len(history); n > 0 {
		since := history[n-1].From.UTC().Format(time.RFC3339)
		if history[n-1].From.IsZero() {
			since = "genesis"
		}
		d.Facts = append(d.Facts, Fact{"In force since", since}, Fact{"By ceremony", history[n-1].Ceremony})
	}
	d.Facts = append(d.Facts, Fact{"Written at ledger size", fmt.Sprint(view.Head().Size)})
	w := writer{ctx: ctx, engine: e, mode: policies.Mode(instance.Mode), now: k.clock.Now()}
	for _, section := range []func() (Section, error){w.callers, w.quorums, w.placement, w.periods, w.rules} {
		s, err := section()
		if err != nil {
			return nil, err
		}
		d.Sections = append(d.Sections, s)
	}
	d.Sections = append(d.Sections, historySection(history))
	return d, nil
}

type writer struct {
	ctx    context.Context
	engine *policies.Engine
	mode   policies.Mode
	now    time.Time
}

// callers is who may call what: from the table of operations, which the rules read.
func (w *writer) callers() (Section, error) {
	s := Section{Title: "Who may call what", Intro: "Calls outside ceremonies. Applications need a grant for the key besides (PCI DSS 7.2.5, 7.2.6; NIST 800-53 AC-6).",
		Head: []string{"call", "kind", "callers", "roles of people"}}
	var table struct {
		Operations map[string]struct {
			Kind       string   `json:"kind"`
			Principals []string `json:"principals"`
			Roles      []string `json:"roles"`
		} `json:"operations"`
	}
	if json.Unmarshal(w.engine.Files()["data/authorisation.json"], &table) != nil || len(table.Operations) == 0 {
		s.Intro += " This bundle holds no table of them; its rules are listed below."
		return s, nil
	}
	for _, name := range slices.Sorted(maps.Keys(table.Operations)) {
		o := table.Operations[name]
		s.Rows = append(s.Rows, []string{name, o.Kind, strings.Join(o.Principals, ", "), strings.Join(o.Roles, ", ")})
	}
	return s, nil
}

// quorums is what every operation takes, asked for keys of every class.
func (w *writer) quorums() (Section, error) {
	s := Section{Title: "What operations take", Intro: "Asked of the bundle for keys of every class, with a share set of 3 in 5 where shares are brought. Nobody who asks approves (PCI DSS 3.7.6, 3.7.7).",
		Head: []string{"operation", "keys of class", "takes", "because", "controls"}}
	for _, name := range operations() {
		last := -1
		for _, class := range policies.Classifications() {
			d, err := w.engine.Quorum(w.ctx, policies.QuorumInput{Now: w.now, Mode: w.mode, Operation: name,
				Requester: policies.Requester{Kind: "human", ID: "requester", Roles: policies.RequesterRoles()},
				Target:    policies.QuorumTarget{Type: "target", ID: "target", Owner: "requester", Classifications: []string{class}, Threshold: 3, Total: 5}})
			if w.ctx.Err() != nil {
				return s, w.ctx.Err()
			}
			takes, why, controls := "refused: no answer", "", ""
			if err == nil {
				takes, why, controls = d.Words(), reasonsOf(d.Reasons), controlsOf(d.Reasons)
			}
			if last >= 0 && s.Rows[last][2] == takes && s.Rows[last][3] == why {
				s.Rows[last][1] += ", " + class
				continue
			}
			last = len(s.Rows)
			s.Rows = append(s.Rows, []string{name, class, takes, why, controls})
		}
		if all := strings.Join(policies.Classifications(), ", "); last >= 0 && s.Rows[last][1] == all {
			s.Rows[last][1] = "all"
		}
	}
	return s, nil
}

func reasonsOf(reasons []policies.Reason) string {
	var out []string
	for _, r := range reasons {
		out = append(out, r.Message)
	}
	return strings.Join(out, "; ")
}

func controlsOf(reasons []policies.Reason) string {
	var out []string
	for _, r := range reasons {
		out = append(out, r.Controls...)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// placement is where keys of a class may live.
func (w *writer) placement() (Section, error) {
	s := Section{Title: "Where keys live", Intro: "The least level of a validated module that a keystore must have, asked of the bundle by FIPS 199 impact (PCI DSS 3.6.1.2; SC-12).",
		Head: []string{"class", "low impact", "moderate impact", "high impact", "certificate needed", "custody models"}}
	for _, class := range policies.Classifications() {
		row, validated, custody := []string{class}, "no", []string(nil)
		for _, impact := range []string{"low", "moderate", "high"} {
			in := policies.PlacementInput{Now: w.now, Mode: w.mode, Key: policies.PlacementKey{Type: "symmetric-data-encryption", Classification: class, Impact: impact,
				Jurisdiction: "EU", Environment: "production", StrengthBits: 128}}
			for _, model := range []string{"self-hosted", "cloud-native", "byok", "hyok"} {
				in.Keystores = append(in.Keystores, policies.PlacementKeystore{ID: model, Status: "registered", FIPSStandard: "140-3", FIPSLevel: 4, Certificate: "any",
					CertificateStatus: "active", Custody: model, Jurisdiction: "EU", Environment: "production", KeyStrength: 256, Tenancy: "single"})
			}
			d, err := w.engine.Place(w.ctx, in)
			if err != nil {
				row = append(row, "refused: no answer")
				continue
			}
			row = append(row, fmt.Sprintf("level %d", d.LeastLevel))
			if d.Validated {
				validated = "yes"
			}
			for _, v := range d.Keystores {
				if v.Allow && !slices.Contains(custody, v.Keystore) {
					custody = append(custody, v.Keystore)
				}
			}
		}
		slices.Sort(custody)
		s.Rows = append(s.Rows, append(row, validated, strings.Join(custody, ", ")))
	}
	return s, w.ctx.Err()
}

// periods is how long keys last.
func (w *writer) periods() (Section, error) {
	s := Section{Title: "How long keys last", Intro: "Cryptoperiods in days, asked of the bundle (PCI DSS 3.7.4, 3.7.5; SP 800-57 Part 1 section 5.3).",
		Head: []string{"type", "class", "protects (default, longest)", "processes from activation (longest)", "rotated after", "warned before", "wait before destruction"}}
	for _, kind := range key.Made() {
		for _, class := range policies.Classifications() {
			d, err := w.engine.Lifecycle(w.ctx, policies.LifecycleInput{Now: w.now, Mode: w.mode, Type: string(kind), Classification: class})
			if err != nil || !d.Allow {
				s.Rows = append(s.Rows, []string{string(kind), class, "refused", "", "", "", ""})
				continue
			}
			s.Rows = append(s.Rows, []string{string(kind), class, fmt.Sprintf("%d, %d", d.OUPDays, d.MaxOUPDays), fmt.Sprint(d.MaxRUPDays), fmt.Sprint(d.RotateDays),
				strings.Trim(fmt.Sprint(d.WarnDays), "[]"), fmt.Sprint(d.DestroyWaitDays)})
		}
	}
	return s, w.ctx.Err()
}

// rules is every rule and the controls that it serves.
func (w *writer) rules() (Section, error) {
	s := Section{Title: "Rules and the controls they serve", Intro: "Each refuses, or raises what is asked; none lowers it.", Head: []string{"rule", "decides", "title", "what it refuses", "controls"}}
	for _, r := range w.engine.Rules() {
		s.Rows = append(s.Rows, []string{r.ID, string(r.Point), r.Title, r.Description, strings.Join(r.Controls, ", ")})
	}
	return s, nil
}

func historySection(history []custodian.PolicyEntry) Section {
	s := Section{Title: "Which policy was in force when", Head: []string{"number", "bundle", "from", "until", "ceremony"}}
	for _, e := range history {
		until := "in force"
		if e.Until != nil {
			until = e.Until.UTC().Format(time.RFC3339)
		}
		from := "genesis"
		if !e.From.IsZero() {
			from = e.From.UTC().Format(time.RFC3339)
		}
		s.Rows = append(s.Rows, []string{fmt.Sprint(e.Number), e.Digest, from, until, e.Ceremony + " (" + e.Operation + ")"})
	}
	return s
}

// Markdown writes the document as Markdown.
func (d *Document) Markdown(w io.Writer) error {
	var b strings.Builder
	cell := strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", ">", "&gt;")
	fmt.Fprintf(&b, "# %s\n\n", cell.Replace(d.Title))
	for _, f := range d.Facts {
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, cell.Replace(f.Value))
	}
	for _, s := range d.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		if s.Intro != "" {
			fmt.Fprintf(&b, "%s\n\n", s.Intro)
		}
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(s.Head, " | "), strings.Repeat("---|", len(s.Head)))
		for _, row := range s.Rows {
			cells := make([]string, len(row))
			for i, c := range row {
				cells[i] = cell.Replace(c)
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// HTML writes the document as one page without scripts.
func (d *Document) HTML(w io.Writer) error {
	page, err := template.New("procedures").Parse(htmlPage)
	if err != nil {
		return fmt.Errorf("the page's template: %w", err)
	}
	return page.Execute(w, d)
}

const htmlPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title>
<style>body{font:14px/1.4 sans-serif;margin:2em;max-width:80em}table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #999;padding:.3em .5em;text-align:left;vertical-align:top}th{background:#eee}dt{font-weight:bold}dd{margin:0 0 .4em 1em;overflow-wrap:anywhere}</style>
</head><body><h1>{{.Title}}</h1><dl>{{range .Facts}}<dt>{{.Name}}</dt><dd>{{.Value}}</dd>{{end}}</dl>
{{range .Sections}}<h2>{{.Title}}</h2><p>{{.Intro}}</p><table><tr>{{range .Head}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table>
{{end}}</body></html>
`
