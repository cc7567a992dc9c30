package policies

import (
	"fmt"
	"strings"
	"time"
)

// Classifications are the classes of keys, least protected first.
func Classifications() []string { return classifications() }

// RequesterRoles are all roles that somebody who asks may hold.
func RequesterRoles() []string {
	return []string{"administrator", "custodian", "key-manager", "key-owner", "security-officer"}
}

// Words says in one line what an operation takes.
func (d QuorumDecision) Words() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch d.Class {
	case PreAuthorised:
		add("no approval: rests on an earlier decision")
	case Protective:
		add("one person, at once, reviewed within %s", span(d.ReviewSeconds))
	case Direct:
		add("one person")
	case Attended:
		add("shares of %d custodians", d.Approvals)
	default:
		noun := "approvals"
		if d.Approvals == 1 {
			noun = "approval"
		}
		add("%d %s", d.Approvals, noun)
	}
	for _, r := range d.Roles {
		add("%d of them %s", r.Count, r.Role)
	}
	if len(d.ApproverRoles) > 0 {
		add("approved by %s", strings.Join(d.ApproverRoles, ", "))
	}
	switch {
	case d.OwnerOnly:
		add("asked for by the owner")
	case len(d.ProposerRoles) > 0:
		add("asked for by %s", strings.Join(d.ProposerRoles, ", "))
	}
	if d.Witness {
		add("a witness")
	}
	if d.Diversity.Teams > 1 {
		add("%d teams", d.Diversity.Teams)
	}
	if d.Diversity.Sites > 1 {
		add("%d sites", d.Diversity.Sites)
	}
	if d.Diversity.ReportingLine {
		add("nobody who reports to the requester")
	}
	if d.CoolingOffSeconds > 0 {
		add("%s to think it over", span(d.CoolingOffSeconds))
	}
	if d.WaitSeconds > 0 {
		add("a wait of %s", span(d.WaitSeconds))
	}
	add("within %s", span(d.ExpirySeconds))
	return strings.Join(parts, "; ")
}

func span(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d > 0 && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d > 0 && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return d.String()
}
