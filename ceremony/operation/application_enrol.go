package operation

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// maxEnrolGrants bounds the grants of one enrolment.
const maxEnrolGrants = 32

type applicationEnrolParams struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Owner       string      `json:"owner"`
	Environment string      `json:"environment"`
	TokenDays   int         `json:"token_days"` // longest life of its tokens
	Grants      []grantSpec `json:"grants"`
}

func (p *applicationEnrolParams) application(in Input) *access.Application {
	return &access.Application{ID: p.ID, Name: p.Name, Owner: p.Owner, Environment: p.Environment, Status: access.StatusActive,
		EnrolledBy: in.Ceremony, Development: in.Instance.Mode == custodian.Development}
}

// applicationEnrol makes an application known, with grants if wanted. Its token is made by token.issue, so
// that only who collects it ever sees it.
type applicationEnrol struct{}

func (applicationEnrol) Name() string { return "application.enrol" }

func (applicationEnrol) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, err := decode[applicationEnrolParams](in)
	if err != nil {
		return Plan{}, err
	}
	err = key.First([]error{
		p.application(in).Validate(),
		key.CheckRange("token_days", p.TokenDays, 1, int(access.MaxTokenLife/key.Day), "days"),
		key.CheckRange("grants", len(p.Grants), 0, maxEnrolGrants, "grants"),
		vacant(view, custodian.KindApplication, "id", p.ID, "application"),
	})
	if err != nil {
		return Plan{}, err
	}
	if _, err := presentPerson(view, "owner", p.Owner); err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "application", ID: p.ID}, Title: fmt.Sprintf("Enrol application %s, owned by %s", p.ID, p.Owner),
		Lines: []Line{{Label: "application", After: fmt.Sprintf("%s (%s), %s", p.ID, p.Name, p.Environment)}, {Label: "owner", After: p.Owner},
			{Label: "tokens last", After: fmt.Sprintf("at most %d days", p.TokenDays)}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "application", ID: p.ID, Owner: p.Owner}}}
	for i, g := range p.Grants {
		field := fmt.Sprintf("grants[%d]", i)
		k, against, err := g.check(view, p.grantID(in, i), p.ID, p.Environment, in)
		if err != nil {
			return Plan{}, within(field, err)
		}
		plan.Lines = append(plan.Lines, g.line(fmt.Sprintf("grant %d", i+1)))
		plan.Deny = append(plan.Deny, against...)
		plan.Quorum.Target.Classifications = append(plan.Quorum.Target.Classifications, string(k.Classification))
	}
	return plan, nil
}

func (*applicationEnrolParams) grantID(in Input, i int) string {
	return fmt.Sprintf("%s-%d", idFrom("g", in.Ceremony), i+1)
}

func (applicationEnrol) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, err := decode[applicationEnrolParams](in)
	if err != nil {
		return Result{}, err
	}
	if err := vacant(tx.View(), custodian.KindApplication, "id", p.ID, "application"); err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	app := p.application(in)
	app.EnrolledAt, app.Asked = a.at, a.asked()
	e := a.event("application.enrol", ledger.Target{Type: "application", ID: app.ID}, map[string]any{"owner": app.Owner,
		"environment": app.Environment, "token_days": p.TokenDays, "grants": len(p.Grants)})
	if err := a.put(tx, custodian.KindApplication, app.ID, app, e); err != nil {
		return Result{}, err
	}
	grants := make([]string, 0, len(p.Grants))
	for i, g := range p.Grants {
		id := p.grantID(in, i)
		if err := g.record(a, tx, id, app.ID); err != nil {
			return Result{}, err
		}
		grants = append(grants, id)
	}
	return result(map[string]any{"application": app.ID, "grants": grants, "next": "its owner makes its token (token.issue)"}), nil
}

// enrolment is what the ceremony that enrolled an application fixed.
type enrolment struct {
	requester string // person who asked for it, "" where no ceremony says
	days      int    // longest life of its tokens
}

// ceremonyKind is the kind of the rows that hold ceremonies; the engine's package imports this one.
const ceremonyKind store.Kind = "ceremony"

// enrolmentOf reads the ceremony that enrolled an application. One that was there from genesis has none.
func enrolmentOf(view *store.View, app *access.Application) (enrolment, error) {
	out := enrolment{days: int(access.MaxTokenLife / key.Day)}
	row, err := view.Get(ceremonyKind, app.EnrolledBy)
	if errors.Is(err, store.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("reading the enrolment of %s: %w", app.ID, err)
	}
	if out.requester, out.days, err = parseEnrolment(row.Body); err != nil {
		return out, fmt.Errorf("reading the enrolment of %s: %w", app.ID, err)
	}
	return out, nil
}

// parseEnrolment reads the few members that matter here from a ceremony's row.
func parseEnrolment(body []byte) (requester string, days int, err error) {
	var c struct {
		Operation string `json:"operation"`
		Requester struct {
			Kind identity.Kind `json:"kind"`
			ID   string        `json:"id"`
		} `json:"requester"`
		Params struct {
			TokenDays int `json:"token_days"`
		} `json:"params"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return "", 0, fmt.Errorf("decoding ceremony: %w", err)
	}
	if c.Operation != (applicationEnrol{}).Name() || c.Params.TokenDays < 1 {
		return "", 0, fmt.Errorf("it is a ceremony of operation %q", clean(c.Operation))
	}
	if c.Requester.Kind == identity.Human {
		requester = c.Requester.ID
	}
	return requester, c.Params.TokenDays, nil
}
