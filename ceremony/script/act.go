package script

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/people"
)

// ErrNotNow: the run is not at a point where this can be done; the text says what comes first.
var ErrNotNow = errors.New("the script is not at this point")

// RoleError: whoever acts may not do this.
type RoleError struct{ Detail string }

func (e *RoleError) Error() string { return e.Detail }

// Kind names what somebody does in a run.
type Kind string

// What can be done in a run, and by whom.
const (
	Arrive   Kind = "arrive"   // oneself
	Leave    Kind = "leave"    // oneself, or the administrator for somebody who left without a word
	Identify Kind = "identify" // a witness, for somebody else
	DoStep   Kind = "step"     // the administrator
	Initial  Kind = "initial"  // a witness: the steps so far were done as written down
	Deviate  Kind = "deviate"  // anybody on the roll
	Close    Kind = "close"    // an auditor who had no part in it
	Sign     Kind = "sign"     // everybody on the roll but observers
	Abandon  Kind = "abandon"  // the administrator, a security officer, who asked for the ceremony, or two who take part
)

// Kinds lists what Act takes.
func Kinds() []Kind {
	return []Kind{Arrive, Leave, Identify, DoStep, Initial, Deviate, Close, Sign, Abandon}
}

// Act is one thing done in a run. Which members it takes depends on Kind; others must be absent.
type Act struct {
	Kind Kind `json:"act"`

	Role     Role   `json:"role,omitempty"`     // arrive
	Site     string `json:"site,omitempty"`     // arrive
	Person   string `json:"person,omitempty"`   // identify, leave
	Document string `json:"document,omitempty"` // identify: kind of document, never its number

	Number     int    `json:"number,omitempty"`      // step, initial: up to which; close: of the deviation
	Actual     string `json:"actual,omitempty"`      // step: what came of it
	AsExpected bool   `json:"as_expected,omitempty"` // step

	Step      int    `json:"step,omitempty"` // deviate
	What      string `json:"what,omitempty"` // deviate, step that is not as expected; and the next three
	Why       string `json:"why,omitempty"`
	DecidedBy string `json:"decided_by,omitempty"`
	Impact    string `json:"impact,omitempty"`

	Finding   string          `json:"finding,omitempty"`   // close
	Statement string          `json:"statement,omitempty"` // sign: the signer's opinion, as it stands in the envelope
	Envelope  json.RawMessage `json:"envelope,omitempty"`  // sign: DSSE over an Opinion
	Reason    string          `json:"reason,omitempty"`    // abandon
}

// Who acts: a person of the register, and what of it matters here.
type Who struct {
	Person   *people.Person
	Related  func(other string) bool // in one reporting line with somebody
	Instance string                  // of the service

	Requester, Voted bool // asked for the ceremony; decided on it, or brought a share
}

const (
	maxText     = 500     // characters
	maxEnvelope = 8 << 10 // bytes
)

// Apply does an act on the run, or says why not: *key.FieldError, *RoleError, ErrNotNow. After an error the run is
// as before.
func (r *Run) Apply(a Act, who Who, now time.Time) error {
	if err := a.check(); err != nil {
		return err
	}
	if r.State == Abandoned || (r.State == Signed && a.Kind != Close && a.Kind != Leave) {
		return fmt.Errorf("it is %s: %w", r.State, ErrNotNow)
	}
	switch a.Kind {
	case Arrive:
		return r.arrive(a, who, now)
	case Leave:
		return r.leave(cmp.Or(a.Person, who.Person.ID), who, now)
	case Identify:
		return r.identify(a, who)
	case DoStep:
		return r.step(a, who, now)
	case Initial:
		return r.initial(a.Number, who, now)
	case Deviate:
		return r.deviate(a, a.Step, who, now)
	case Close:
		return r.close(a, who, now)
	case Sign:
		return r.sign(a, who, now)
	default:
		return r.abandon(a.Reason, who, now)
	}
}

// check holds an act against the members that its kind takes.
func (a *Act) check() error {
	if err := key.CheckOneOf("act", a.Kind, Kinds()...); err != nil {
		return err
	}
	deviation := a.Kind == Deviate || (a.Kind == DoStep && !a.AsExpected)
	var checks []error
	text := func(field, value string, takes bool) {
		if takes || value != "" {
			checks = append(checks, a.only(field, takes), key.CheckText(field, value, maxText, false))
		}
	}
	number := func(field string, value int, takes bool) {
		if value != 0 || takes {
			checks = append(checks, a.only(field, takes), key.CheckRange(field, value, 0, 1000, ""))
		}
	}
	text("role", string(a.Role), a.Kind == Arrive)
	text("site", a.Site, a.Kind == Arrive)
	if a.Person != "" || a.Kind == Identify {
		checks = append(checks, a.only("person", a.Kind == Identify || a.Kind == Leave), key.CheckID("person", a.Person))
	}
	text("document", a.Document, a.Kind == Identify)
	number("number", a.Number, a.Kind == DoStep || a.Kind == Initial || a.Kind == Close)
	text("actual", a.Actual, a.Kind == DoStep)
	if a.AsExpected {
		checks = append(checks, a.only("as_expected", a.Kind == DoStep))
	}
	number("step", a.Step, a.Kind == Deviate)
	text("what", a.What, deviation)
	text("why", a.Why, deviation)
	text("decided_by", a.DecidedBy, deviation)
	text("impact", a.Impact, deviation)
	text("finding", a.Finding, a.Kind == Close)
	text("statement", a.Statement, a.Kind == Sign)
	if len(a.Envelope) > 0 || a.Kind == Sign {
		checks = append(checks, a.only("envelope", a.Kind == Sign), key.CheckRange("envelope", len(a.Envelope), 1, maxEnvelope, "bytes"))
	}
	text("reason", a.Reason, a.Kind == Abandon)
	return key.First(checks)
}

func (a *Act) only(field string, takes bool) error {
	if takes {
		return nil
	}
	return &key.FieldError{Field: field, Problem: "not part of act " + string(a.Kind), Allowed: "nothing"}
}

func (r *Run) arrive(a Act, who Who, now time.Time) error {
	if err := key.CheckOneOf("role", a.Role, Witness, Custodian, Auditor, Observer); err != nil {
		return err
	}
	need := map[Role]people.Role{Witness: people.RoleWitness, Custodian: people.RoleCustodian, Auditor: people.RoleAuditor}[a.Role]
	switch {
	case r.Present(who.Person.ID) != nil:
		return fmt.Errorf("%s is on the roll: %w", who.Person.ID, ErrNotNow)
	case need != "" && !who.Person.Has(need):
		return &RoleError{"only who is " + string(need) + " in the register takes part as " + string(a.Role)}
	case a.Role == Witness && who.Related(r.Administrator):
		return &RoleError{"a witness is not in the administrator's reporting line"}
	case len(r.Roll) >= MaxRoll:
		return fmt.Errorf("the roll has %d lines, the most there may be: %w", MaxRoll, ErrNotNow)
	case len(r.SignOffs) > 0:
		return fmt.Errorf("the record is being signed: %w", ErrNotNow)
	}
	r.Roll = append(r.Roll, Attendance{Person: who.Person.ID, Name: who.Person.Name, Role: a.Role, Site: a.Site, ArrivedAt: now})
	return nil
}

func (r *Run) leave(person string, who Who, now time.Time) error {
	line := r.Present(person)
	switch {
	case line == nil:
		return fmt.Errorf("%s is not on the roll: %w", person, ErrNotNow)
	case person != who.Person.ID && who.Person.ID != r.Administrator:
		return &RoleError{"everybody says for themselves that they leave; for others the administrator does"}
	case person == r.Administrator && r.State == Running:
		return fmt.Errorf("the administrator stays until the last step is done, or abandons the run: %w", ErrNotNow)
	}
	line.LeftAt = &now
	return nil
}

// as finds whoever acts on the roll, in a role.
func (r *Run) as(who Who, role Role) error {
	line := r.Present(who.Person.ID)
	if line == nil || line.Role != role {
		return &RoleError{"only the " + string(role) + " of this ceremony does this"}
	}
	return nil
}

func (r *Run) identify(a Act, who Who) error {
	if err := r.as(who, Witness); err != nil {
		return err
	}
	line := r.Present(a.Person)
	switch {
	case line == nil:
		return &key.FieldError{Field: "person", Problem: "not on the roll", Allowed: "somebody who has arrived"}
	case a.Person == who.Person.ID:
		return &RoleError{"nobody identifies themselves"}
	case strings.ContainsAny(a.Document, "0123456789"):
		return &key.FieldError{Field: "document", Problem: "holds digits", Allowed: "the kind of document, never its number"}
	case len(r.SignOffs) > 0:
		return fmt.Errorf("the record is being signed: %w", ErrNotNow)
	}
	line.Document, line.CheckedBy = a.Document, who.Person.ID
	return nil
}

func (r *Run) step(a Act, who Who, now time.Time) error {
	if err := r.as(who, Administrator); err != nil {
		return err
	}
	number, step, more := r.Next()
	switch {
	case !more:
		return fmt.Errorf("every step is done: %w", ErrNotNow)
	case a.Number != number:
		return &key.FieldError{Field: "number", Problem: fmt.Sprintf("%d", a.Number), Allowed: fmt.Sprintf("%d: steps are done in their order", number)}
	case step.Phase == PhasePerform:
		return fmt.Errorf("step %d is the ceremony itself, which writes it down when it has ended: %w", number, ErrNotNow)
	case number == 1 && len(r.Roll) < 2:
		return fmt.Errorf("the administrator is alone: %w", ErrNotNow)
	}
	if !a.AsExpected {
		if err := r.deviate(a, number, who, now); err != nil {
			return err
		}
	}
	r.done(Step{Number: number, Actual: a.Actual, AsExpected: a.AsExpected, At: now, By: who.Person.ID})
	return nil
}

func (r *Run) done(s Step) {
	if r.Steps = append(r.Steps, s); len(r.Steps) == len(r.Script.Steps) {
		r.State = Performed
	}
}

// Perform writes the ceremony's own step down, once it has ended; false when that is not the next step. What did
// not complete is a deviation.
func (r *Run) Perform(node, outcome string, completed bool, at time.Time) bool {
	number, step, more := r.Next()
	if !more || step.Phase != PhasePerform || r.State != Running {
		return false
	}
	outcome = clip(outcome)
	if !completed {
		r.add(Deviation{Step: number, What: "the ceremony did not complete", Why: outcome, DecidedBy: node, Impact: "nothing was changed by it", By: node, At: at})
	}
	r.done(Step{Number: number, Actual: outcome, AsExpected: completed, At: at, By: node})
	return true
}

func clip(s string) string {
	if runes := []rune(s); len(runes) > maxText {
		return string(runes[:maxText])
	}
	return s
}

func (r *Run) initial(upTo int, who Who, now time.Time) error {
	if err := r.as(who, Witness); err != nil {
		return err
	}
	if upTo < 1 || upTo > len(r.Steps) {
		return &key.FieldError{Field: "number", Problem: fmt.Sprintf("%d", upTo), Allowed: fmt.Sprintf("1 to %d: steps that are done", len(r.Steps))}
	}
	if len(r.SignOffs) > 0 {
		return fmt.Errorf("the record is being signed: %w", ErrNotNow)
	}
	for i := range r.Steps[:upTo] {
		if s := &r.Steps[i]; s.Initials == "" {
			s.Initials, s.InitialsAt = who.Person.ID, &now
		}
	}
	return nil
}

// deviate writes a deviation down. Signatures given before it cover a record that no longer is, and lapse.
func (r *Run) deviate(a Act, step int, who Who, now time.Time) error {
	switch {
	case r.Present(who.Person.ID) == nil:
		return &RoleError{"only who is on the roll writes a deviation down"}
	case step > len(r.Script.Steps):
		return &key.FieldError{Field: "step", Problem: fmt.Sprintf("%d", step), Allowed: fmt.Sprintf("1 to %d, or nothing", len(r.Script.Steps))}
	case len(r.Deviations) >= MaxDeviations:
		return fmt.Errorf("%d deviations are written down, the most there may be: abandon the run: %w", MaxDeviations, ErrNotNow)
	case !slices.ContainsFunc(r.Roll, func(l Attendance) bool { return l.Person == a.DecidedBy }):
		return &key.FieldError{Field: "decided_by", Problem: "not on the roll", Allowed: "the id of somebody who is or was there"}
	}
	r.add(Deviation{Step: step, What: a.What, Why: a.Why, DecidedBy: a.DecidedBy, Impact: a.Impact, By: who.Person.ID, At: now})
	return nil
}

func (r *Run) add(d Deviation) {
	d.Number = len(r.Deviations) + 1
	r.Deviations, r.SignOffs = append(r.Deviations, d), nil
}

func (r *Run) close(a Act, who Who, now time.Time) error {
	if a.Number < 1 || a.Number > len(r.Deviations) {
		return &key.FieldError{Field: "number", Problem: fmt.Sprintf("%d", a.Number), Allowed: fmt.Sprintf("1 to %d: a deviation of this run", len(r.Deviations))}
	}
	d := &r.Deviations[a.Number-1]
	switch {
	case !who.Person.Has(people.RoleAuditor):
		return &RoleError{"an auditor closes deviations"}
	case who.Person.ID == d.By || who.Person.ID == d.DecidedBy:
		return &RoleError{"nobody closes a deviation of their own"}
	case d.ClosedAt != nil:
		return fmt.Errorf("deviation %d is closed: %w", d.Number, ErrNotNow)
	}
	d.ClosedAt, d.ClosedBy, d.Finding = &now, who.Person.ID, a.Finding
	return nil
}

func (r *Run) sign(a Act, who Who, now time.Time) error {
	i := slices.IndexFunc(r.Roll, func(l Attendance) bool { return l.Person == who.Person.ID && l.Role != Observer })
	switch {
	case i < 0:
		return &RoleError{"only who took part signs"}
	case r.State != Performed:
		return fmt.Errorf("of %s %d are done: %w", amount.Of(len(r.Script.Steps), "step"), len(r.Steps), ErrNotNow)
	case slices.ContainsFunc(r.SignOffs, func(s SignOff) bool { return s.Person == who.Person.ID }):
		return fmt.Errorf("%s has signed: %w", who.Person.ID, ErrNotNow)
	}
	watched := slices.ContainsFunc(r.Roll, func(l Attendance) bool { return l.Role == Witness })
	if watched && slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Initials == "" }) {
		return fmt.Errorf("the witness has not initialled every step: %w", ErrNotNow)
	}
	signed := SignOff{Person: who.Person.ID, Role: r.Roll[i].Role, Statement: a.Statement, At: now, Envelope: a.Envelope}
	if err := r.CheckSignOff(signed, who.Person, who.Instance); err != nil {
		return err
	}
	r.SignOffs = append(r.SignOffs, signed)
	if len(r.Unsigned()) == 0 {
		r.State, r.EndedAt = Signed, &now
	}
	return nil
}

// abandon ends the run: the administrator, a security officer and who asked for the ceremony by themselves, two others who
// take part in it together, so that whoever leads holds nobody up.
func (r *Run) abandon(reason string, who Who, now time.Time) error {
	alone := who.Person.ID == r.Administrator || who.Person.Has(people.RoleSecurityOfficer) || who.Requester
	switch {
	case alone:
	case !who.Voted && r.Present(who.Person.ID) == nil:
		return &RoleError{"the administrator, a security officer or who asked for it abandons a run, or two who take part in it"}
	case len(r.AbandonedBy) == 0 || r.AbandonedBy[0] == who.Person.ID:
		r.AbandonedBy = []string{who.Person.ID}
		return nil
	}
	r.AbandonedBy = append(r.AbandonedBy, who.Person.ID)
	r.State, r.EndedAt, r.EndReason = Abandoned, &now, reason
	return nil
}
