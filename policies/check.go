package policies

// Check is what was found when a proposed bundle was judged apart from the service.
type Check struct {
	Tests    int      `json:"tests"`              // Rego tests that came with it and passed
	Coverage int      `json:"coverage,omitempty"` // percent of its lines that they evaluate
	Probes   int      `json:"probes"`             // questions that every decision point answered
	Findings []string `json:"findings,omitempty"` // about its form: what to mend, nothing that refuses it
}
