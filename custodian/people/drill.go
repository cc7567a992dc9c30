package people

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/key"
)

// DrillKind is what is practised with a share set (ceremony practice, section 8).
type DrillKind string

const (
	DrillSignIn         DrillKind = "sign-in"        // each holder signs something; two people look at each bag
	DrillVerification   DrillKind = "drill"          // each holder proves that their share reads (share.drill)
	DrillRehearsal      DrillKind = "rehearsal"      // a quorum practises recovery, against the clock
	DrillReconstruction DrillKind = "reconstruction" // a quorum's shares open a scratch keystore, and are forgotten
	DrillTableTop       DrillKind = "table-top"      // loss or leaving, decided on paper
	DrillSite           DrillKind = "site-missing"   // a quorum without anybody of one site
)

// DrillKinds returns all kinds, in order of their periods.
func DrillKinds() []DrillKind {
	return []DrillKind{DrillSignIn, DrillVerification, DrillRehearsal, DrillReconstruction, DrillTableTop, DrillSite}
}

// days is the period of a kind where nothing else is scheduled (all ours).
func (k DrillKind) days() int {
	switch k {
	case DrillSignIn:
		return 90
	case DrillVerification:
		return 180
	case DrillSite:
		return 730
	}
	return 365
}

// Held reports whether the drill is held together and put on record by drill.record or shares.rehearse. The others
// follow from what each holder does.
func (k DrillKind) Held() bool { return k != DrillSignIn && k != DrillVerification }

// Bounds of a schedule (ours).
const (
	leastDrillDays = 7
	MaxRTOMinutes  = 14 * 24 * 60
)

// DrillPlan is the schedule of one share set. Row id: Set. A set without one is drilled by the periods of ceremony
// practice.
type DrillPlan struct {
	Set   string `json:"set"`
	Owner string `json:"owner"` // person who answers for the drills, and for findings of failed ones
	// Days is the period by kind; what is not in it has its own. 0: not held, for reconstruction alone.
	Days       map[DrillKind]int `json:"days,omitempty"`
	RTOMinutes int               `json:"rto_minutes,omitempty"` // recovery takes no longer than this; 0: not declared
	ChangedAt  time.Time         `json:"changed_at"`
	Ceremony   string            `json:"ceremony"`
}

// Validate names the first field that is wrong (*key.FieldError).
func (p *DrillPlan) Validate() error {
	checks := []error{key.CheckID("set", p.Set), key.CheckID("owner", p.Owner), key.CheckRange("rto_minutes", p.RTOMinutes, 0, MaxRTOMinutes, "minutes")}
	for kind, days := range p.Days {
		field := "days." + string(kind)
		if !slices.Contains(DrillKinds(), kind) {
			checks = append(checks, &key.FieldError{Field: "days", Problem: fmt.Sprintf("%.32q is no kind of drill", string(kind)), Allowed: fmt.Sprint(DrillKinds())})
			continue
		}
		if days == 0 && kind == DrillReconstruction {
			continue
		}
		checks = append(checks, key.CheckRange(field, days, leastDrillDays, 2*kind.days(), fmt.Sprintf("days; %d where nothing is scheduled", kind.days())))
	}
	return key.First(checks)
}

// Period is how long a drill of a kind holds; false where none is held. A nil plan is that of ceremony practice.
func (p *DrillPlan) Period(kind DrillKind) (time.Duration, bool) {
	days := kind.days()
	if p != nil {
		if d, given := p.Days[kind]; given {
			days = d
		}
	}
	return time.Duration(days) * key.Day, days > 0
}

// DrillResult is how a drill ended.
type DrillResult string

const (
	DrillPassed DrillResult = "passed"
	DrillFailed DrillResult = "failed"
)

// Drill is the record of a drill that was held together: attendance, steps, times, deviations, result. Row id: ID.
type Drill struct {
	ID         string      `json:"id"`
	Set        string      `json:"set"`
	Epoch      uint32      `json:"epoch"` // in force when it was held
	Kinds      []DrillKind `json:"kinds"` // that it counts for, where it passed
	Result     DrillResult `json:"result"`
	StartedAt  time.Time   `json:"started_at"`
	FinishedAt time.Time   `json:"finished_at"`
	RTOMinutes int         `json:"rto_minutes,omitempty"` // as declared then
	Attendance []string    `json:"attendance"`
	Witnesses  []string    `json:"witnesses,omitempty"`
	SignedBy   []string    `json:"signed_by"` // who signed for it in the ceremony that recorded it
	Steps      string      `json:"steps,omitempty"`
	Deviations []string    `json:"deviations,omitempty"`
	Site       string      `json:"missing_site,omitempty"`
	Evidence   string      `json:"evidence,omitempty"` // ceremony in which shares were brought
	Shares     []int       `json:"shares,omitempty"`   // indices that were put together
	Keys       int         `json:"keys,omitempty"`     // whose check values were compared
	Problem    string      `json:"problem,omitempty"`  // why it failed
	Finding    string      `json:"finding,omitempty"`
	Ceremony   string      `json:"ceremony"` // that recorded it
}

// counts reports whether the drill passed and counts for a kind, for the epoch in force.
func (d *Drill) counts(set *ShareSet, kind DrillKind) bool {
	return d.Set == set.ID && d.Result == DrillPassed && slices.Contains(d.Kinds, kind) && (kind != DrillReconstruction || d.Epoch == set.Epoch)
}

// DrillDue is where one drill of a set stands.
type DrillDue struct {
	Set    string     `json:"share_set"`
	Kind   DrillKind  `json:"kind"`
	Person string     `json:"person,omitempty"` // holder; for what is held together, who answers for it
	Days   int        `json:"days"`             // period
	Last   *time.Time `json:"last,omitempty"`   // when it last passed
	Due    time.Time  `json:"due"`
	Late   bool       `json:"late"`
	What   string     `json:"what"` // to be done, in words
}

// DrillFacts is what the register of drills of one set is computed from.
type DrillFacts struct {
	Set      *ShareSet
	Plan     *DrillPlan // nil: periods of ceremony practice
	Owner    string     // where there is no plan
	Shares   []*Share
	Forms    []*ShareForm
	Activity map[string]time.Time // by person: when they last signed something
	Drills   []*Drill
	Opened   []time.Time // when a backup that the set opens was opened in a drill
	Find     Lookup
	Now      time.Time
}

// DrillRegister says when every drill of a set was held and is due, the most urgent first.
func DrillRegister(f DrillFacts) []DrillDue {
	var out []DrillDue
	for _, kind := range DrillKinds() {
		period, held := f.Plan.Period(kind)
		switch {
		case !held:
		case kind.Held():
			out = append(out, f.together(kind, period))
		default:
			out = append(out, f.holders(kind, period)...)
		}
	}
	slices.SortStableFunc(out, func(a, b DrillDue) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Person, b.Person)) })
	return out
}

func (f DrillFacts) due(d DrillDue, last time.Time, period time.Duration) DrillDue {
	d.Set, d.Days, d.Due = f.Set.ID, int(period/key.Day), last.Add(period)
	d.Late = f.Now.After(d.Due)
	return d
}

// together is where a drill stands that a set's people hold together. A set that is new counts from its issue; so does
// the reconstruction of a new epoch, which was put together at its cutover.
func (f DrillFacts) together(kind DrillKind, period time.Duration) DrillDue {
	d := DrillDue{Kind: kind, Person: f.Owner, What: kind.task(f.Set)}
	if f.Plan != nil {
		d.Person = f.Plan.Owner
	}
	since := f.Set.IssuedAt
	if past := f.Set.Past; len(past) > 0 && kind != DrillReconstruction {
		since = past[0].IssuedAt
	}
	var last time.Time
	for _, x := range f.Drills {
		if x.counts(f.Set, kind) && x.FinishedAt.After(last) {
			last = x.FinishedAt
		}
	}
	if kind == DrillReconstruction || kind == DrillRehearsal {
		for _, at := range f.Opened {
			if at.After(last) {
				last = at
			}
		}
	}
	if !last.IsZero() {
		d.Last, since = &last, last
	}
	return f.due(d, since, period)
}

// task says what is to be done.
func (k DrillKind) task(set *ShareSet) string {
	switch {
	case k == DrillReconstruction && set.Purpose == PurposeBackup:
		return "open a backup with a quorum in a restore test (backup.drill)"
	case k == DrillReconstruction:
		return "bring a quorum's shares together in a scratch keystore (shares.rehearse)"
	case k == DrillRehearsal:
		return "practise recovery with a quorum, against the clock (shares.rehearse or drill.record)"
	case k == DrillTableTop:
		return "go through a loss or a departure on paper (drill.record)"
	}
	return "show that a quorum is there without anybody of one site (shares.rehearse or drill.record)"
}

// holders is where each holder stands with what they do alone.
func (f DrillFacts) holders(kind DrillKind, period time.Duration) []DrillDue {
	var out []DrillDue
	for _, s := range f.Shares {
		p := f.Find(s.Custodian)
		if !s.Usable(f.Set) || Present(p) != nil {
			continue
		}
		d := DrillDue{Kind: kind, Person: s.Custodian, What: "prove that the share reads (share.drill)"}
		if kind == DrillVerification {
			if s.Status != ShareConfirmed { // not confirmed yet: that is overdue in its own right
				continue
			}
			last := proven(s)
			if last.IsZero() { // sealed to other keys since: never proved with these
				last = f.Now.Add(-period - key.Day)
			} else {
				d.Last = &last
			}
			out = append(out, f.due(d, last, period))
			continue
		}
		d.What = "sign in: nothing was signed lately"
		last, heard := f.Activity[s.Custodian]
		if !heard {
			last = p.AddedAt
		}
		for _, form := range f.Forms {
			if form.Share() != ShareID(s.Set, s.Epoch, s.Index) || !form.State.bagged() {
				continue
			}
			seen := form.ChangedAt
			if form.CheckedAt != nil && form.CheckedAt.After(seen) {
				seen = *form.CheckedAt
			}
			if seen.Before(last) {
				last, d.What = seen, "look at bag "+form.Serial+" of form "+form.ID+" (custody check)"
			}
		}
		d.Last = &last
		out = append(out, f.due(d, last, period))
	}
	return out
}
