package policies

import (
	"fmt"
	"slices"

	strict "github.com/go-json-experiment/json"
)

// Phases of a written ceremony script, in their order. The ceremony itself runs in PhasePerform.
const (
	PhaseOpen    = "open"
	PhasePerform = "perform"
	PhaseClose   = "close"
)

// Bounds of scripts (ours): what people can follow in one sitting.
const (
	maxScriptSteps = 60
	maxScriptText  = 500 // bytes
)

// Script is the written script of a ceremony: what is done, in which order, and what is expected.
type Script struct {
	ID      string       `json:"id"`
	Title   string       `json:"title"`
	Version int          `json:"version"`
	Steps   []ScriptStep `json:"steps"`
}

// ScriptStep is one numbered step; numbers count from 1.
type ScriptStep struct {
	Phase    string `json:"phase"`
	Text     string `json:"text"`
	Expected string `json:"expected"`
}

type scriptTable struct {
	Scripts map[string]struct {
		Title   string       `json:"title"`
		Version int          `json:"version"`
		Steps   []ScriptStep `json:"steps"`
	} `json:"scripts"`
	Operations map[string]string `json:"operations"` // operation → script
	Otherwise  string            `json:"otherwise"`  // script of every other operation
}

// scripts is data/scripts.json, checked.
type scripts struct {
	byID       map[string]Script
	operations map[string]string
	otherwise  string
}

// readScripts reads data/scripts.json.
func (b *bundle) readScripts() (scripts, error) {
	const file = "data/scripts.json"
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %s", ErrBundle, file, fmt.Sprintf(format, args...))
	}
	var table scriptTable
	if _, there := b.sources[file]; !there {
		return plainScripts(), nil
	}
	if err := strict.Unmarshal(b.sources[file], &table, strict.RejectUnknownMembers(true)); err != nil {
		return scripts{}, bad("%v", err)
	}
	out := scripts{byID: map[string]Script{}, operations: table.Operations, otherwise: table.Otherwise}
	for id, s := range table.Scripts {
		script := Script{ID: id, Title: s.Title, Version: s.Version, Steps: s.Steps}
		if problem := script.check(); problem != "" {
			return scripts{}, bad("script %s: %s", id, problem)
		}
		out.byID[id] = script
	}
	for operation, id := range table.Operations {
		if _, known := out.byID[id]; !known {
			return scripts{}, bad("operation %s has script %q, which there is not", operation, id)
		}
	}
	if _, known := out.byID[table.Otherwise]; !known {
		return scripts{}, bad("otherwise is %q, which there is not", table.Otherwise)
	}
	return out, nil
}

// plainScripts is what a bundle without scripts of its own asks for: a roll, the ceremony, its outcome.
func plainScripts() scripts {
	const id = "plain"
	return scripts{otherwise: id, byID: map[string]Script{id: {ID: id, Title: "Ceremony", Version: 1, Steps: []ScriptStep{
		{PhaseOpen, "Everybody who takes part is on the roll, with the role they act in.", "the roll is complete"},
		{PhasePerform, "The ceremony is held.", "it completes"},
		{PhaseClose, "Read the outcome aloud; a second person confirms it.", "as the statement said"},
	}}}}
}

// check says what is wrong with a script; "" for nothing. It needs a phase in which the ceremony runs, and its
// phases stand in their order.
func (s *Script) check() string {
	phases := []string{PhaseOpen, PhasePerform, PhaseClose}
	switch {
	case s.Title == "" || len(s.Title) > maxScriptText || s.Version < 1:
		return "title or version is missing"
	case len(s.Steps) == 0 || len(s.Steps) > maxScriptSteps:
		return fmt.Sprintf("%d steps, allowed are 1 to %d", len(s.Steps), maxScriptSteps)
	}
	last, performs := 0, 0
	for i, step := range s.Steps {
		phase := slices.Index(phases, step.Phase)
		switch {
		case phase < 0:
			return fmt.Sprintf("step %d: phase %q, allowed are open, perform, close", i+1, step.Phase)
		case phase < last:
			return fmt.Sprintf("step %d: phase %s comes too late", i+1, step.Phase)
		case step.Text == "" || step.Expected == "" || len(step.Text) > maxScriptText || len(step.Expected) > maxScriptText:
			return fmt.Sprintf("step %d: text or expected is missing or too long", i+1)
		}
		if last = phase; step.Phase == PhasePerform {
			performs++
		}
	}
	if performs != 1 {
		return fmt.Sprintf("%d steps in phase perform, allowed is 1: the ceremony itself", performs)
	}
	return ""
}

// ScriptFor is the script by which a ceremony of an operation is held.
func (e *Engine) ScriptFor(operation string) Script {
	from := e.scripts
	if from.byID == nil { // the bundle in force is unusable: what is compiled in holds
		from = plainScripts()
	}
	id, listed := from.operations[operation]
	if !listed {
		id = from.otherwise
	}
	s := from.byID[id]
	s.Steps = slices.Clone(s.Steps)
	return s
}
