package control

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed catalogue/*.yaml evaluators.yaml
var embedded embed.FS

// Catalogue is the controls of one framework, as data.
type Catalogue struct {
	Framework string `yaml:"framework" json:"framework"`
	Name      string `yaml:"name" json:"name"`
	Version   string `yaml:"version" json:"version"` // of this data, a date
	Scope     Scope  `yaml:"scope" json:"scope"`     // which keys it is about
	// Words are the verdicts as the framework's assessors say them, by verdict, and [Compensated].
	Words map[string]string `yaml:"words" json:"words"`
	// Parts names the parts of the framework, by what the ids of their controls begin with.
	Parts    map[string]string `yaml:"parts" json:"parts,omitempty"`
	Controls []Control         `yaml:"controls" json:"controls"`
}

// Control is one requirement in our own words.
type Control struct {
	ID            string       `yaml:"id" json:"id"`
	Title         string       `yaml:"title" json:"title"`
	Status        string       `yaml:"status" json:"status"`
	AppliesWhen   string       `yaml:"applies_when" json:"applies_when"`
	WhatItDemands string       `yaml:"what_it_demands" json:"what_it_demands"`
	Evidence      Sources      `yaml:"evidence" json:"evidence"`
	PassRule      string       `yaml:"pass_rule" json:"pass_rule"`
	Judged        string       `yaml:"judged" json:"judged"` // how this service's shape is held against it
	FailExamples  []string     `yaml:"fail_examples" json:"fail_examples"`
	Retention     string       `yaml:"retention" json:"retention"`
	Verification  Verification `yaml:"verification" json:"verification"`
	Note          string       `yaml:"note" json:"note,omitempty"`
	// Evaluator names what judges it; several controls may share one. What a control leaves out of evidence, pass_rule
	// and judged is that of its evaluator.
	Evaluator string `yaml:"evaluator" json:"evaluator"`
	// Question is put to a person besides what the evaluator asks: no program can judge that part.
	Question string `yaml:"question" json:"question,omitempty"`
	// Shows names registers whose rows help whoever answers.
	Shows []string `yaml:"shows" json:"shows,omitempty"`
}

// Compensated is the word for a control that is met by something else in its place.
const Compensated = "compensated"

// Method is how an evaluator judges, in words. Controls that share it share these.
type Method struct {
	Name     string  `yaml:"name"`
	Evidence Sources `yaml:"evidence"`
	PassRule string  `yaml:"pass_rule"`
	Judged   string  `yaml:"judged"`
}

// Methods reads how every evaluator judges.
func Methods() ([]Method, error) {
	data, err := embedded.ReadFile("evaluators.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading evaluators: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var out []Method
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("parsing evaluators: %w", err)
	}
	return out, nil
}

// inherit fills in what a control leaves to its evaluator.
func (c *Catalogue) inherit(methods []Method) error {
	for i := range c.Controls {
		k := &c.Controls[i]
		at := slices.IndexFunc(methods, func(m Method) bool { return m.Name == k.Evaluator })
		if at < 0 {
			return fmt.Errorf("control %s: evaluator: %q is unknown", k.ID, k.Evaluator)
		}
		m := methods[at]
		k.PassRule, k.Judged, k.Evidence.Query = cmp.Or(k.PassRule, m.PassRule), cmp.Or(k.Judged, m.Judged), cmp.Or(k.Evidence.Query, m.Evidence.Query)
		if len(k.Evidence.Events) == 0 {
			k.Evidence.Events = m.Evidence.Events
		}
		if len(k.Evidence.State) == 0 {
			k.Evidence.State = m.Evidence.State
		}
	}
	return nil
}

// Sources is what a control is judged by.
type Sources struct {
	Events []string `yaml:"events" json:"events"` // ledger entry types
	State  []string `yaml:"state" json:"state"`   // kinds of authority rows
	Query  string   `yaml:"query" json:"query"`
}

// Verification is how we know what the requirement says.
type Verification struct {
	Level  string `yaml:"level" json:"level"` // "text-checked", "secondary", "memory"
	Source string `yaml:"source" json:"source"`
}

// UnknownFrameworkError names a framework that has no catalogue, and those that have one.
type UnknownFrameworkError struct {
	Framework string
	Known     []string
}

func (e *UnknownFrameworkError) Error() string {
	return fmt.Sprintf("framework: %q is unknown; allowed: %s", e.Framework, strings.Join(e.Known, ", "))
}

// Frameworks lists the frameworks that have a catalogue, in order of name.
func Frameworks() ([]string, error) {
	files, err := fs.Glob(embedded, "catalogue/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing catalogues: %w", err)
	}
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = strings.TrimSuffix(strings.TrimPrefix(f, "catalogue/"), ".yaml")
	}
	return out, nil
}

// Load reads the catalogue of a framework. A framework without one is an [*UnknownFrameworkError].
func Load(framework string) (*Catalogue, error) {
	known, err := Frameworks()
	if err != nil {
		return nil, err
	}
	for _, name := range known {
		if name != framework {
			continue
		}
		data, err := embedded.ReadFile("catalogue/" + name + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("reading catalogue: %w", err)
		}
		methods, err := Methods()
		if err != nil {
			return nil, err
		}
		c, err := parseCatalogue(data, methods)
		if err != nil {
			return nil, fmt.Errorf("catalogue %s: %w", name, err)
		}
		if c.Framework != framework {
			return nil, fmt.Errorf("catalogue %s: framework: %q, must be the file's name", name, c.Framework)
		}
		return c, nil
	}
	return nil, &UnknownFrameworkError{Framework: framework, Known: known}
}

// maxCatalogue bounds a catalogue, in bytes.
const maxCatalogue = 1 << 20

// ParseCatalogue reads a catalogue strictly: unknown members, a second document, empty required members,
// repeated ids and unknown verification levels are errors that name the control and the member.
func ParseCatalogue(data []byte) (*Catalogue, error) {
	methods, err := Methods()
	if err != nil {
		return nil, err
	}
	return parseCatalogue(data, methods)
}

func parseCatalogue(data []byte, methods []Method) (*Catalogue, error) {
	if len(data) > maxCatalogue {
		return nil, fmt.Errorf("catalogue has %d bytes, at most %d are allowed", len(data), maxCatalogue)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var c Catalogue
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("parsing catalogue: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("parsing catalogue: more than one document")
	}
	if err := c.inherit(methods); err != nil {
		return nil, err
	}
	return &c, c.check()
}

func (c *Catalogue) check() error {
	switch {
	case c.Framework == "":
		return errors.New("framework: empty")
	case c.Name == "":
		return errors.New("name: empty")
	case c.Version == "":
		return errors.New("version: empty")
	case !c.Scope.Known():
		return fmt.Errorf("scope: %q; allowed: account-data, ephi, every-key", c.Scope)
	case len(c.Controls) == 0:
		return errors.New("controls: none")
	}
	for _, v := range append(Verdicts(), Compensated) {
		if c.Words[string(v)] == "" {
			return fmt.Errorf("words: none for %s", v)
		}
	}
	seen := map[string]bool{}
	for i, k := range c.Controls {
		if k.ID == "" {
			return fmt.Errorf("controls[%d].id: empty", i)
		}
		if seen[k.ID] {
			return fmt.Errorf("control %s: listed twice", k.ID)
		}
		seen[k.ID] = true
		if err := k.check(); err != nil {
			return fmt.Errorf("control %s: %w", k.ID, err)
		}
	}
	return nil
}

func (k *Control) check() error {
	required := []struct{ name, value string }{
		{"title", k.Title}, {"status", k.Status}, {"applies_when", k.AppliesWhen},
		{"what_it_demands", k.WhatItDemands}, {"evidence.query", k.Evidence.Query}, {"pass_rule", k.PassRule},
		{"judged", k.Judged}, {"retention", k.Retention}, {"verification.source", k.Verification.Source},
	}
	for _, r := range required {
		if strings.TrimSpace(r.value) == "" {
			return fmt.Errorf("%s: empty", r.name)
		}
	}
	if len(k.FailExamples) == 0 {
		return errors.New("fail_examples: none")
	}
	switch k.Verification.Level {
	case "text-checked", "secondary", "memory":
		return nil
	}
	return fmt.Errorf("verification.level: %q; allowed: text-checked, secondary, memory", k.Verification.Level)
}
