package render

import (
	"strings"

	"conclave/reports"
)

// group is the verdicts of one part of a framework: a requirement, a section, a family.
type group struct {
	Name string
	Bars []bar
	Y    int // of its line in the chart
	Mid  int
}

// groupHigh is the height of one line of the chart, in the units of its SVG.
const groupHigh = 34

// Where bars begin in the chart, and how wide the longest is, in the units of its SVG: the names stand before them.
const (
	chartFrom  = 340
	chartWidth = barWidth - chartFrom
)

// groupsOf gathers controls by the part that they belong to, in the order in which parts first occur.
func groupsOf(controls []reports.Judgement, parts map[string]string) []group {
	var names []string
	counts := map[string]map[string]int{}
	for _, c := range controls {
		name := partOf(c.ID)
		if counts[name] == nil {
			names = append(names, name)
			counts[name] = map[string]int{}
		}
		counts[name][string(c.Result.Verdict)]++
	}
	most := 1
	for _, of := range counts {
		most = max(most, sum(of))
	}
	out := make([]group, len(names))
	for i, name := range names {
		out[i] = group{Name: strings.TrimSpace(name + " " + parts[name]), Bars: bars(counts[name]), Y: i * groupHigh, Mid: i*groupHigh + groupHigh/2 + 4}
		// A line is as long as its part has controls.
		for j := range out[i].Bars {
			b := &out[i].Bars[j]
			scale := func(n int) int { return n * sum(counts[name]) * chartWidth / (most * barWidth) }
			end := scale(b.X + b.Width)
			b.X = scale(b.X)
			b.Width = end - b.X
			b.X += chartFrom
			b.Mid = b.X + b.Width/2
		}
	}
	return out
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// partOf is the part of a framework that a control belongs to, by its id: "10" of 10.2.1.4, "164.312" of 164.312(b), "AU"
// of AU-9(2).
func partOf(id string) string {
	if strings.HasPrefix(id, "164.") {
		return id[:min(7, len(id))]
	}
	if part, _, found := strings.Cut(id, "-"); found && !strings.Contains(part, ".") {
		return part
	}
	part, rest, _ := strings.Cut(id, ".")
	if part == "3" { // by far the longest: by its sections
		section, _, _ := strings.Cut(rest, ".")
		return part + "." + section
	}
	return part
}
