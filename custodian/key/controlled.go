package key

import "time"

// MaxControlledUse is the longest life of a controlled use (ours; keystates.md, note (b)).
const MaxControlledUse = 7 * Day

// ControlledApproval lets one application process one data set under a compromised version, to protect it anew. It is
// approved by a quorum and ends by date; it stands in for nothing but the state. Row kind "controlled_use", id ID.
type ControlledApproval struct {
	ID          string            `json:"id"`
	Key         string            `json:"key"`
	Version     uint32            `json:"version"`
	Application string            `json:"application"`
	Asset       string            `json:"asset"`             // the data set
	Context     map[string]string `json:"context,omitempty"` // fields that tell the data set apart in the encryption context
	From        time.Time         `json:"from"`
	Until       time.Time         `json:"until"`
	Ceremony    string            `json:"ceremony"`
}

// Covers reports whether it lets an application process under a version now, for data of this encryption context.
func (u *ControlledApproval) Covers(application, keyID string, version uint32, context map[string]string, now time.Time) bool {
	if u.Application != application || u.Key != keyID || u.Version != version || now.Before(u.From) || !now.Before(u.Until) || u.Until.Sub(u.From) > MaxControlledUse {
		return false
	}
	for name, want := range u.Context {
		if got, present := context[name]; !present || got != want {
			return false
		}
	}
	return true
}

// AllowsControlled reports whether a version may process under a controlled use: compromised, and within its dates.
func (v *Version) AllowsControlled(now time.Time) error {
	if v.State != Compromised {
		return v.denyState()
	}
	return v.withinRecipientUse(now)
}
