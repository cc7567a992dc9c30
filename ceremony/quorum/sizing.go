package quorum

import (
	"fmt"
	"slices"
)

// Rule is one rule on the size and spread of a share set.
type Rule struct {
	Name  string `json:"name"`
	Holds bool   `json:"holds"`
	Says  string `json:"says"`
}

// Preset is a size of share set for a purpose (all ours).
type Preset struct {
	Name      string `json:"name"`
	Threshold int    `json:"threshold"`
	Total     int    `json:"total"`
	Sites     int    `json:"sites"`       // at least
	MostAtOne int    `json:"most_at_one"` // shares at one site, at most
}

// Presets are the sizes we advise: 2 of 3 for ordinary secrets, 3 of 5 for important ones, 4 of 7 for roots.
func Presets() []Preset {
	return []Preset{{"standard", 2, 3, 3, 1}, {"important", 3, 5, 3, 2}, {"root", 4, 7, 3, 3}}
}

// Sizing is a share set held against the rules.
type Sizing struct {
	Rules   []Rule   `json:"rules"`
	Presets []string `json:"presets,omitempty"` // those it meets, as it is or better spread
	Good    bool     `json:"good"`              // all rules hold
}

// Size judges threshold m of total n with shares at these sites, one entry a share: 2 ≤ m < n, since m equal to n
// survives no loss; m over n/2, so that two disjoint groups can not both act; two sites at least, none of which
// holds m; and n without the largest site still m, so that one site may be lost.
func Size(m, n int, sites []string) Sizing {
	count := map[string]int{}
	largest := 0
	for _, s := range sites {
		count[s]++
		largest = max(largest, count[s])
	}
	out := Sizing{Rules: []Rule{
		{"size", m >= 2 && m < n, fmt.Sprintf("%d of %d: at least 2, fewer than all", m, n)},
		{"spare", n-m >= 1, fmt.Sprintf("%d spare: at least 1, for roots 2", n-m)},
		{"majority", 2*m > n, fmt.Sprintf("%d of %d: more than half, so that two groups can not both act", m, n)},
		{"sites", len(count) >= 2 && largest < m, fmt.Sprintf("%d sites, at most %d shares at one: at least 2 sites, none with %d", len(count), largest, m)},
		{"site-loss", len(sites)-largest >= m, fmt.Sprintf("%d shares are left without the largest site: at least %d", len(sites)-largest, m)},
	}}
	out.Good = !slices.ContainsFunc(out.Rules, func(r Rule) bool { return !r.Holds })
	for _, p := range Presets() {
		if out.Good && m == p.Threshold && n == p.Total && len(count) >= p.Sites && largest <= p.MostAtOne {
			out.Presets = append(out.Presets, p.Name)
		}
	}
	return out
}
