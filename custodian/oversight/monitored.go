package oversight

import "time"

// Monitored is what the daily run found of one framework. Row id: Framework.
type Monitored struct {
	Framework string                    `json:"framework"`
	RunAt     time.Time                 `json:"run_at"`
	Verdicts  map[string]ControlVerdict `json:"verdicts"` // by control
}

// ControlVerdict is one control's verdict, and since which run it is so.
type ControlVerdict struct {
	Verdict string    `json:"verdict"`
	Since   time.Time `json:"since"`
}
