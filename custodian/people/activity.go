package people

import "time"

// Periods after which people are warned and held to something. PCI DSS 4.0.1, 8.2.6: inactive accounts are removed or
// disabled within 90 days. The steps of warning are ours, after those of cryptoperiods.
const (
	InactiveAfter = 90 * 24 * time.Hour
	// ActivityGrain is how exactly the last activity is kept: at most one row a person and day.
	ActivityGrain = 24 * time.Hour
)

func acknowledgementWarnDays() []int { return []int{90, 30, 7} }
func inactivityWarnDays() []int      { return []int{30, 14, 7} }

// Activity is when a person last signed something for this instance, give or take ActivityGrain. It is apart from
// the person's own row: being there is no change of who they are. Row id: Person.
type Activity struct {
	Person string    `json:"person"`
	At     time.Time `json:"at"`
}

// InactiveOn is when a person counts as inactive, if nothing more is heard of them. Records that begin later than the
// person (an instance that did not keep any before) begin the count.
func InactiveOn(a *Activity) time.Time { return a.At.Add(InactiveAfter) }

// InactivityWarning is the smallest step of warning reached, in days before the person counts as inactive; 0 for none.
func InactivityWarning(a *Activity, now time.Time) int {
	return step(inactivityWarnDays(), InactiveOn(a), now)
}

// AcknowledgementWarning is the smallest step of warning reached, in days before the acknowledgement ends; 0 for none,
// and for one that has ended or was never signed: Acknowledged says so.
func AcknowledgementWarning(p *Person, now time.Time) int {
	if p.Acknowledgement == nil || Acknowledged(p, now) != nil {
		return 0
	}
	return step(acknowledgementWarnDays(), end(p.Acknowledgement), now)
}

// AcknowledgedUntil is when the acknowledgement of a person ends; zero where there is none.
func AcknowledgedUntil(p *Person) time.Time {
	if p.Acknowledgement == nil {
		return time.Time{}
	}
	return end(p.Acknowledgement)
}

// step finds the smallest of the steps, largest first, that the end has come within.
func step(days []int, end, now time.Time) int {
	reached := 0
	for _, d := range days {
		if now.Before(end) && !now.Before(end.AddDate(0, 0, -d)) {
			reached = d
		}
	}
	return reached
}

// MustAcknowledge reports whether the person has a role that takes a signed acceptance of duty.
func MustAcknowledge(p *Person) bool {
	for _, r := range p.Roles {
		if NeedsAcknowledgement(r) {
			return true
		}
	}
	return false
}
