package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type attestationParams struct {
	ID         string                    `json:"id"` // made from the ceremony's when empty
	Kind       oversight.AttestationKind `json:"kind"`
	Controls   []string                  `json:"controls"`
	Outcome    oversight.AttestedOutcome `json:"outcome"`
	Statement  string                    `json:"statement"`
	Reference  string                    `json:"reference"`
	SHA256     string                    `json:"sha256"`
	CoversFrom *time.Time                `json:"covers_from"`
	CoversTo   *time.Time                `json:"covers_to"`
	Days       int                       `json:"days"`
	Titles     []string                  `json:"titles"` // of the controls, in their order: what the signers were shown
}

// attest is what attestation.sign and attestation.decide have in common: people say something about controls, for a
// time. Neither changes what anybody may do.
type attest struct{ kinds []oversight.AttestationKind }

// attestationSign is one person's word: an answer, a review, a document, a declaration. The signature is that of the
// request, which the ceremony keeps.
type attestationSign struct{}

func (attestationSign) Name() string { return "attestation.sign" }

func (o attestationSign) Pin(_ context.Context, env Env, view *store.View, in Input) ([]byte, error) {
	return attest{oversight.AttestedAlone()}.pin(env, view, in)
}

func (o attestationSign) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	return attest{oversight.AttestedAlone()}.prepare(view, in)
}

func (o attestationSign) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	return attest{oversight.AttestedAlone()}.execute(env, tx, in, o.Name())
}

// attestationDecide is a quorum's: that something else is done in place of what a control demands, or that the
// program's verdict does not hold.
type attestationDecide struct{}

func (attestationDecide) Name() string { return "attestation.decide" }

func (o attestationDecide) Pin(_ context.Context, env Env, view *store.View, in Input) ([]byte, error) {
	return attest{oversight.AttestedTogether()}.pin(env, view, in)
}

func (o attestationDecide) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	return attest{oversight.AttestedTogether()}.prepare(view, in)
}

func (o attestationDecide) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	return attest{oversight.AttestedTogether()}.execute(env, tx, in, o.Name())
}

// pin refuses a control that the catalogues do not have, and writes the titles of the others into what is signed: those of
// the catalogue in use when it is proposed. They are not asked again, so that a replica whose program has other catalogues
// carries out what people signed.
func (t attest) pin(env Env, view *store.View, in Input) ([]byte, error) {
	a, _, err := t.read(view, in)
	if err != nil {
		return nil, err
	}
	params := map[string]any{}
	if err := json.Unmarshal(in.Params, &params); err != nil {
		return nil, fmt.Errorf("reading params: %w", err)
	}
	titles := make([]string, len(a.Controls))
	for i, name := range a.Controls {
		if env.Controls == nil {
			return nil, errNoCatalogues
		}
		if titles[i], err = env.Controls(name); err != nil {
			return nil, &custodian.InputError{Field: fmt.Sprintf("controls[%d]", i), Problem: err.Error(), Allowed: "a control of a catalogue of this service"}
		}
	}
	params["titles"] = titles
	return custodian.Detail(params), nil
}

var errNoCatalogues = errors.New("this process knows no catalogue of controls")

// read makes the statement that the parameters ask for, and says what it is about: its controls by name and title.
func (t attest) read(view *store.View, in Input) (a *oversight.Attestation, about []string, err error) {
	p, err := decode[attestationParams](in)
	if err != nil {
		return nil, nil, err
	}
	if p.ID == "" {
		p.ID = idFrom("at", in.Ceremony)
	}
	if err := key.First([]error{key.CheckOneOf("kind", p.Kind, t.kinds...), key.CheckRange("days", p.Days, 1, oversight.MaxAttestationDays, "days")}); err != nil {
		return nil, nil, err
	}
	if p.Titles != nil && len(p.Titles) != len(p.Controls) {
		return nil, nil, &custodian.InputError{Field: "titles", Problem: fmt.Sprintf("%d of %d controls", len(p.Titles), len(p.Controls)), Allowed: "none: they are filled in"}
	}
	for i, name := range p.Controls {
		if p.Titles != nil {
			name += " (" + clean(p.Titles[i]) + ")"
		}
		about = append(about, name)
	}
	at := in.Now.UTC().Truncate(time.Microsecond)
	a = &oversight.Attestation{ID: p.ID, Kind: p.Kind, Controls: p.Controls, Outcome: p.Outcome, Statement: p.Statement, Reference: p.Reference, SHA256: p.SHA256,
		CoversFrom: p.CoversFrom, CoversTo: p.CoversTo, Signer: in.Requester.ID, SignedAt: at, ExpiresAt: at.Add(time.Duration(p.Days) * key.Day), Ceremony: in.Ceremony}
	return a, about, key.First([]error{a.Validate(), vacant(view, custodian.KindAttestation, "id", a.ID, "attestation")})
}

func attestationPlan(a *oversight.Attestation, about []string, revision uint64, title string, lines ...Line) Plan {
	lines = append([]Line{{Label: "kind", After: string(a.Kind)}, {Label: "about", After: strings.Join(about, ", ")}, {Label: "says", After: a.Statement}}, lines...)
	for _, optional := range []Line{{Label: "outcome", After: string(a.Outcome)}, {Label: "rests on", After: a.Reference}, {Label: "sha256", After: a.SHA256}} {
		if optional.After != "" {
			lines = append(lines, optional)
		}
	}
	return Plan{Target: Target{Type: "attestation", ID: a.ID, GovRevision: revision}, Title: title, Lines: lines,
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "attestation", ID: a.ID}}}
}

func (t attest) prepare(view *store.View, in Input) (Plan, error) {
	a, about, err := t.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	matter := strings.Join(a.Controls, ", ")
	if matter == "" {
		matter = a.Reference
	}
	return attestationPlan(a, about, 0, shorten(fmt.Sprintf("Sign a statement (%s) about %s", a.Kind, matter)),
		Line{Label: "counts for", After: amount.Of(int(a.ExpiresAt.Sub(a.SignedAt)/key.Day), "day")}), nil
}

func (t attest) execute(env Env, tx *store.Tx, in Input, name string) (Result, error) {
	in.Now = tx.Now()
	x, _, err := t.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	detail := map[string]any{"kind": string(x.Kind), "controls": x.Controls, "expires_at": x.ExpiresAt.Format(dateTime)}
	if x.Outcome != "" {
		detail["outcome"] = string(x.Outcome)
	}
	if x.SHA256 != "" {
		detail["sha256"] = x.SHA256
	}
	if err := a.put(tx, custodian.KindAttestation, x.ID, x, a.event(name, ledger.Target{Type: "attestation", ID: x.ID}, detail)); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"attestation": x.ID, "expires_at": x.ExpiresAt.Format(dateTime)}), nil
}

type attestationWithdrawParams struct {
	Attestation string `json:"attestation"`
	Reason      string `json:"reason"`
}

// attestationWithdraw ends a statement at once; it stays on record. Whoever signed it may, and a security officer or
// an auditor: a statement only ever speaks for something.
type attestationWithdraw struct{}

func (attestationWithdraw) Name() string { return "attestation.withdraw" }

func (attestationWithdraw) read(view *store.View, in Input) (*oversight.Attestation, store.Row, string, error) {
	p, err := decode[attestationWithdrawParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	a, row, err := lookup[oversight.Attestation](view, custodian.KindAttestation, "attestation", p.Attestation, "attestation")
	return a, row, reason, err
}

func (o attestationWithdraw) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	a, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := attestationPlan(a, a.Controls, row.Revision, "Withdraw statement "+a.ID, Line{Label: "reason", After: reason})
	if !a.InForce(in.Now) {
		plan.Deny = append(plan.Deny, refusal("not_in_force", "statement "+a.ID+" has ended", "nothing to do"))
	}
	if a.Signer != in.Requester.ID && !holdsAny(view, in.Requester.ID, people.RoleSecurityOfficer, people.RoleAuditor) {
		plan.Deny = append(plan.Deny, refusal("not_the_signer", a.Signer+" signed it", "its signer, a security officer or an auditor withdraws it"))
	}
	return plan, nil
}

func holdsAny(view *store.View, id string, roles ...people.Role) bool {
	p, _, err := store.Get[people.Person](view, custodian.KindPerson, id)
	return err == nil && slices.ContainsFunc(p.Roles, func(r people.Role) bool { return slices.Contains(roles, r) })
}

func (o attestationWithdraw) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	x, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	x.WithdrawnAt, x.WithdrawnBy = &a.at, in.Requester.ID
	if err := a.put(tx, custodian.KindAttestation, x.ID, x, a.event("attestation.withdraw", ledger.Target{Type: "attestation", ID: x.ID}, map[string]any{"kind": string(x.Kind)})); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"attestation": x.ID, "withdrawn": true}), nil
}
