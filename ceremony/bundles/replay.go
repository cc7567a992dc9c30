package bundles

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// trial is one back-test under way.
type trial struct {
	k       *Keeper
	view    *store.View
	inForce *policies.Engine
	files   map[string]string // of the proposal
	mode    policies.Mode
}

func (t *trial) run(ctx context.Context) (*Report, error) {
	r := &Report{Differences: []Difference{}, Placements: []KeyChange{}, Lifecycles: []KeyChange{}, Quorums: []Quorum{}, Assumed: assumed()}
	groups, err := t.gather(ctx, r)
	if err != nil {
		return nil, err
	}
	t.k.step(func(p *Progress) {
		p.Phase, p.Read, p.Groups = "judging distinct decisions by both bundles", p.Of, len(groups)
	})
	if err := t.replay(ctx, r, groups); err != nil {
		return nil, err
	}
	t.k.step(func(p *Progress) { p.Phase = "comparing placement, cryptoperiods and quorums" })
	for _, compare := range []func(context.Context, *Report) error{t.placements, t.lifecycles, t.quorums} {
		if err := compare(ctx, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// ask has questions answered by the proposal, apart from the service.
func (t *trial) ask(ctx context.Context, point policies.Point, inputs []any) ([]policies.Answer, error) {
	job := policies.Job{Files: t.files}
	for _, in := range inputs {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding a question: %w", err)
		}
		job.Questions = append(job.Questions, policies.Question{Point: point, Input: raw})
	}
	v, err := t.k.sandbox(ctx, job)
	if err != nil {
		return nil, err
	}
	if v.Refused != "" || len(v.Answers) != len(inputs) {
		return nil, fmt.Errorf("the bundle gives no answers: %s", v.Refused)
	}
	return v.Answers, nil
}

// replay judges every group by both bundles.
func (t *trial) replay(ctx context.Context, r *Report, groups map[decision]*group) error {
	facts := newFacts(t.view)
	all := slices.Collect(maps.Keys(groups))
	for chunk := range slices.Chunk(all, policies.MaxQuestions) {
		var inputs []any
		var before []string
		for _, d := range chunk {
			in := facts.input(d, groups[d].last, t.mode)
			inputs, before = append(inputs, in), append(before, t.now(ctx, in))
		}
		answers, err := t.ask(ctx, policies.PointAuthorise, inputs)
		if err != nil {
			return err
		}
		for i, d := range chunk {
			r.tell(d, groups[d], before[i], answers[i])
		}
	}
	slices.SortFunc(r.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Operation, b.Operation), strings.Compare(a.Principal, b.Principal),
			strings.Compare(a.Target, b.Target), strings.Compare(a.Recorded, b.Recorded))
	})
	if r.MoreDifferences = max(0, len(r.Differences)-maxDifferences); r.MoreDifferences > 0 {
		r.Differences = r.Differences[:maxDifferences]
	}
	return nil
}

const (
	allowWord  = "allow"
	noDecision = "no_decision"
)

// now is what the bundle in force says: "allow", or the code of its refusal.
func (t *trial) now(ctx context.Context, in policies.AuthoriseInput) string {
	d, err := t.inForce.Authorise(ctx, in)
	return word(d, err != nil)
}

func word(d policies.Decision, failed bool) string {
	switch {
	case failed || !d.Allow && len(d.Reasons) == 0:
		return noDecision
	case d.Allow:
		return allowWord
	}
	return d.Reasons[0].Code
}

// tell counts one group, and lists it where the bundles differ.
func (r *Report) tell(d decision, g *group, before string, answer policies.Answer) {
	var after policies.Decision
	failed := answer.Problem != "" || json.Unmarshal(answer.Decision, &after) != nil
	then := word(after, failed)
	if (before == allowWord) != (d.outcome == ledger.Allow) {
		r.FactsChanged += g.count
	}
	if failed {
		r.Unanswered += g.count
	}
	switch {
	case before == allowWord && then != allowWord:
		r.NewlyDenied += g.count
	case before != allowWord && then == allowWord:
		r.NewlyAllowed += g.count
	default:
		return
	}
	message := answer.Problem
	if len(after.Reasons) > 0 {
		message = after.Reasons[0].Message
	}
	target := d.target
	if d.version > 0 {
		target = key.VersionID(d.target, d.version)
	}
	r.Differences = append(r.Differences, Difference{Operation: d.operation, Principal: string(d.kind) + ":" + d.actor, Target: target,
		Recorded: strings.TrimSuffix(string(d.outcome)+" "+d.code, " "), Count: g.count, LastAt: g.last, Before: before, After: then,
		Message: ledger.CleanText(clipTo(message, 200)), Examples: g.examples})
}

// facts finds what a decision was about in the rows as they stand now, and in the state they had then as far as
// their own history tells.
type facts struct {
	view   *store.View
	grants map[[2]string][]*access.Grant
}

func newFacts(view *store.View) *facts {
	f := &facts{view: view, grants: map[[2]string][]*access.Grant{}}
	for row := range view.List(custodian.KindGrant) {
		if g, ok := row.Value.(*access.Grant); ok {
			k := [2]string{g.Application, g.Key}
			f.grants[k] = append(f.grants[k], g)
		}
	}
	return f
}

func (f *facts) input(d decision, at time.Time, mode policies.Mode) policies.AuthoriseInput {
	in := policies.AuthoriseInput{Now: at, Mode: mode, Operation: d.operation, ReasonCode: d.reasonCode, AcceptRisk: d.acceptRisk,
		Principal: f.principal(d, at)}
	if d.target == "" {
		return in
	}
	if d.kind == identity.Application {
		in.Grant = f.grant(d, at)
	}
	if strings.HasSuffix(d.operation, ".read") {
		return in
	}
	k, err := store.Peek[key.Key](f.view, custodian.KindKey, d.target)
	if err != nil {
		return in
	}
	in.PayloadBytes = 16
	in.Key = &policies.KeyFacts{ID: k.ID, Type: string(k.Type), Classification: string(k.Classification), Impact: string(k.Impact),
		Jurisdiction: k.Jurisdiction, Environment: k.Environment, Owner: k.Owner, Keystore: k.Keystore}
	in.Version = f.version(k.ID, cmp.Or(d.from, d.version), at)
	if d.operation == string(access.Rewrap) {
		in.Onto = f.version(k.ID, d.version, at)
	}
	if d.operation == string(access.Decrypt) || d.operation == string(access.Rewrap) {
		in.ProtectedAt = at
		if in.Version != nil && !in.Version.SuspendedAt.IsZero() {
			in.ProtectedAt = in.Version.SuspendedAt.Add(-time.Microsecond)
		}
	}
	if ks, err := store.Peek[key.Keystore](f.view, custodian.KindKeystore, k.Keystore); err == nil {
		in.Keystore = &policies.KeystoreState{ID: ks.ID, Environment: ks.Environment, Active: true}
	}
	if in.Grant != nil {
		in.Context = in.Grant.Context
	}
	return in
}

func (f *facts) principal(d decision, at time.Time) policies.Principal {
	p := policies.Principal{Kind: string(d.kind), ID: d.actor, Status: string(people.StatusActive)}
	switch d.kind {
	case identity.Application:
		if app, err := store.Peek[access.Application](f.view, custodian.KindApplication, d.actor); err == nil {
			p.Environment = app.Environment
		}
	case identity.Human, identity.Auditor:
		if person, err := store.Peek[people.Person](f.view, custodian.KindPerson, d.actor); err == nil {
			for _, r := range person.Roles {
				p.Roles = append(p.Roles, string(r))
			}
		}
	}
	if token, err := store.Peek[access.Token](f.view, custodian.KindToken, d.credential); err == nil {
		p.CredentialExpiresAt = token.ExpiresAt
		p.CredentialRevoked = token.RevokedAt != nil && !token.RevokedAt.After(at)
	}
	return p
}

// grant is the one that covered the operation then, else any of this application for the key.
func (f *facts) grant(d decision, at time.Time) *policies.GrantFacts {
	var best *access.Grant
	for _, g := range f.grants[[2]string{d.actor, d.target}] {
		covers := !at.Before(g.CreatedAt) && at.Before(g.ExpiresAt) && (g.RevokedAt == nil || at.Before(*g.RevokedAt)) &&
			slices.Contains(g.Operations, access.Operation(d.operation))
		if covers || best == nil {
			best = g
		}
		if covers {
			break
		}
	}
	if best == nil {
		return nil
	}
	out := &policies.GrantFacts{ID: best.ID, Context: best.Context, ExpiresAt: best.ExpiresAt, Revoked: best.RevokedAt != nil && !at.Before(*best.RevokedAt)}
	for _, op := range best.Operations {
		out.Operations = append(out.Operations, string(op))
	}
	return out
}

// version is a key version in the state it had then.
func (f *facts) version(keyID string, number uint32, at time.Time) *policies.VersionFacts {
	v, err := store.Peek[key.Version](f.view, custodian.KindKeyVersion, key.VersionID(keyID, number))
	if err != nil {
		return nil
	}
	out := &policies.VersionFacts{Number: v.Version, State: string(v.State), ActivationAt: v.ActivationAt, OUPEnd: v.OUPEnd, RUPEnd: v.RUPEnd, Suspected: v.Suspected}
	for _, h := range v.History {
		if !h.At.After(at) {
			out.State = string(h.To)
		}
	}
	if v.SuspendedAt != nil && out.State == string(key.Suspended) {
		out.SuspendedAt = *v.SuspendedAt
	}
	return out
}
