package people

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/amount"
)

// Periods and spares of share custody (all ours).
const (
	// DrillPeriod is the longest time between two proofs that a share is readable.
	DrillPeriod = 180 * 24 * time.Hour
	// SitesWanted is over how many sites a set is spread.
	SitesWanted = 2
)

// Place is a site, a team or a reporting line and how many usable shares its people hold.
type Place struct {
	Kind   string `json:"kind"` // "site", "team", "line"
	Name   string `json:"name"`
	Shares int    `json:"shares"`
}

// Health is how well a share set would stand losses and pressure.
type Health struct {
	Set       string `json:"set"`
	Epoch     uint32 `json:"epoch"`
	Threshold int    `json:"threshold"`
	Total     int    `json:"total"`
	// Usable shares are of the current epoch, not lost, and held by people who count as custodians now.
	Usable    int `json:"usable"`
	Confirmed int `json:"confirmed"` // of the current epoch, held by anybody
	Lost      int `json:"lost"`
	// LossesSurvived is how many more usable shares may go before the quorum cannot be reached; negative when
	// it cannot be reached now.
	LossesSurvived int `json:"losses_survived"`
	// Exposed is reached when lost shares alone make a quorum: the secret counts as compromised.
	Exposed bool `json:"exposed"`
	// CanAct are sites, teams and lines whose people alone reach the threshold; CanBlock those without which
	// nobody else does.
	CanAct   []Place `json:"can_act,omitempty"`
	CanBlock []Place `json:"can_block,omitempty"`
	// Unacknowledged, Absent: holders whose duty is not signed for or expired; who are suspended, left, unknown.
	Unacknowledged []string `json:"unacknowledged,omitempty"`
	Absent         []string `json:"absent,omitempty"`
	Doubled        []string `json:"doubled,omitempty"`        // holders of more than one share, counted once
	Unconfirmed    []string `json:"unconfirmed,omitempty"`    // holders of shares not yet confirmed
	OverdueDrills  []string `json:"overdue_drills,omitempty"` // holders without a proof within DrillPeriod; the register of drills goes by the schedule
	// OldShares counts shares of earlier epochs whose destruction is not proven: where a quorum of one epoch is left,
	// they still open an old copy of the database. OldEpochs has them by epoch.
	OldShares int        `json:"old_shares"`
	OldEpochs []OldEpoch `json:"old_epochs,omitempty"`
	Warnings  []string   `json:"warnings,omitempty"`
}

// Ready reports whether a quorum could act now.
func (h Health) Ready() bool { return h.LossesSurvived >= 0 }

// Assess computes the health of a set from its shares of all epochs and the register.
func Assess(set *ShareSet, shares []*Share, find Lookup, now time.Time) Health {
	h := Health{Set: set.ID, Epoch: set.Epoch, Threshold: set.Threshold, Total: set.Total}
	var holders []*Person
	for _, s := range shares {
		if s.Set != set.ID {
			continue
		}
		if set.Outstanding(s) {
			h.OldShares++
		}
		if s.Epoch != set.Epoch || set.ReplacedBy != "" {
			continue
		}
		p := h.judge(set, s, find(s.Custodian), now)
		switch {
		case p == nil:
		case slices.ContainsFunc(holders, func(q *Person) bool { return q.ID == p.ID }):
			h.Doubled = append(h.Doubled, p.ID)
		default:
			holders = append(holders, p)
		}
	}
	h.Usable = len(holders)
	h.LossesSurvived = h.Usable - set.Threshold
	h.Exposed = h.Lost >= set.Threshold
	for _, place := range places(holders, find) {
		if place.Shares >= set.Threshold {
			h.CanAct = append(h.CanAct, place)
		}
		if h.Ready() && h.Usable-place.Shares < set.Threshold {
			h.CanBlock = append(h.CanBlock, place)
		}
	}
	h.OldEpochs = set.OldEpochs(shares)
	h.Warnings = h.warn(holders)
	return h
}

// judge books one share of the current epoch and returns its holder if the share is usable.
func (h *Health) judge(set *ShareSet, s *Share, p *Person, now time.Time) *Person {
	switch s.Status {
	case ShareConfirmed:
		h.Confirmed++
	case ShareLost:
		h.Lost++
	case ShareIssued:
		h.Unconfirmed = append(h.Unconfirmed, s.Custodian)
	}
	if !s.Usable(set) {
		return nil
	}
	if absent(p) != nil || !p.Has(RoleCustodian) {
		h.Absent = append(h.Absent, s.Custodian)
		return nil
	}
	if Acknowledged(p, now) != nil {
		h.Unacknowledged = append(h.Unacknowledged, s.Custodian)
		return nil
	}
	if s.Status == ShareConfirmed && now.Sub(proven(s)) > DrillPeriod {
		h.OverdueDrills = append(h.OverdueDrills, s.Custodian)
	}
	return p
}

// proven is when the holder last showed that the share is readable, with the keys that it is sealed to now.
func proven(s *Share) time.Time {
	var last time.Time
	if s.MovedAt != nil && (s.DrilledAt == nil || s.DrilledAt.Before(*s.MovedAt)) {
		return last
	}
	for _, at := range []*time.Time{s.ConfirmedAt, s.DrilledAt} {
		if at != nil && at.After(last) {
			last = *at
		}
	}
	return last
}

// places counts usable shares by site, team and reporting line, largest first.
func places(holders []*Person, find Lookup) []Place {
	count := make(map[Place]int)
	for _, p := range holders {
		count[Place{Kind: "site", Name: p.Site}]++
		count[Place{Kind: "team", Name: p.Team}]++
		// A manager who holds a share belongs to their own line.
		for _, manager := range append(Line(p, find), p.ID) {
			count[Place{Kind: "line", Name: manager}]++
		}
	}
	var list []Place
	for place, n := range count {
		if place.Kind == "line" && n < 2 {
			continue // a line of one is the person
		}
		place.Shares = n
		list = append(list, place)
	}
	slices.SortFunc(list, func(a, b Place) int {
		if a.Shares != b.Shares {
			return b.Shares - a.Shares
		}
		return strings.Compare(a.Kind+a.Name, b.Kind+b.Name)
	})
	return list
}

// warn says in words what a security officer should look at.
func (h Health) warn(holders []*Person) []string {
	var w []string
	add := func(format string, a ...any) { w = append(w, fmt.Sprintf(format, a...)) }
	switch {
	case !h.Ready():
		add("only %s, %d are needed: nobody can activate", amount.Of(h.Usable, "usable share"), h.Threshold)
	case h.LossesSurvived == 0:
		add("no spare share: one more loss and nobody can activate")
	}
	if h.Exposed {
		add("%d shares are lost, %d make a quorum: treat the secret as compromised", h.Lost, h.Threshold)
	}
	if sites := distinct(holders, func(p *Person) string { return p.Site }); h.Usable > 0 && sites < SitesWanted {
		add("all usable shares are at one site")
	}
	for _, id := range h.Doubled {
		add("%s holds more than one share", id)
	}
	for _, p := range h.CanAct {
		add("%s %q alone could act: %s, %d are needed", p.Kind, p.Name, amount.Of(p.Shares, "share"), h.Threshold)
	}
	for _, p := range h.CanBlock {
		add("without %s %q nobody could act", p.Kind, p.Name)
	}
	for _, old := range h.OldEpochs {
		if old.Opens() {
			add("%d shares of epoch %d are not proven destroyed, %d make a quorum: with a copy of the database of that time they still open it",
				old.Unproven, old.Epoch, old.Threshold)
		}
	}
	return w
}
