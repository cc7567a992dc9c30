package policies

import (
	"fmt"
	"maps"
	"slices"
)

// readExceptable reads which rules let an exception be (data/exceptions.json); none where there is no table.
func (b *bundle) readExceptable() ([]string, error) {
	tables, _ := b.data["tables"].(map[string]any)
	table, set := tables["exceptions"]
	if !set {
		return nil, nil
	}
	rows, _ := table.(map[string]any)
	rules, ok := rows["rules"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: data/exceptions.json: rules is no object", ErrBundle)
	}
	return slices.Sorted(maps.Keys(rules)), nil
}

// readEmergency reads what each kind of caller may do by emergency access (data/authorisation.json, emergency).
func (b *bundle) readEmergency() (map[string][]string, error) {
	tables, _ := b.data["tables"].(map[string]any)
	table, _ := tables["authorisation"].(map[string]any)
	kinds, _ := table["emergency"].(map[string]any)
	out := make(map[string][]string, len(kinds))
	for kind, list := range kinds {
		operations, err := stringList(list)
		if err != nil {
			return nil, fmt.Errorf("%w: data/authorisation.json: emergency: %s %w", ErrBundle, kind, err)
		}
		out[kind] = operations
	}
	return out, nil
}

// Exceptable lists the rules for which a risk can be accepted.
func (e *Engine) Exceptable() []string { return slices.Clone(e.exceptable) }

// InEmergency reports whether callers of a kind may be given an operation by emergency access.
func (e *Engine) InEmergency(kind, operation string) bool {
	return slices.Contains(e.emergency[kind], operation)
}
