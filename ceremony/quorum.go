package ceremony

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// Standing is how a ceremony's votes count at one moment, by the people, roles and acknowledgements of that
// moment.
type Standing struct {
	Approved  []string `json:"approved"`            // people whose approval counts
	Refused   []string `json:"refused,omitempty"`   // votes that do not count, and why
	Missing   []string `json:"missing,omitempty"`   // what is still needed, in words
	Met       bool     `json:"met"`                 // nothing is missing
	Reachable bool     `json:"reachable"`           // enough eligible people are left who have not rejected
	Eligible  []string `json:"eligible,omitempty"`  // people who could still approve
	Witnesses []string `json:"witnesses,omitempty"` // people who attended
}

// floor is the least number of approvals for a governed ceremony, compiled in under the policy (DESIGN
// invariant 1). Development mode, chosen at genesis only, lowers it.
func floor(mode custodian.Mode) int {
	if mode == custodian.Development {
		return 1
	}
	return 2
}

// tally counts the votes of a ceremony under one view. Every signature is verified anew.
func (e *Engine) tally(view *store.View, c *Ceremony, takes policies.QuorumDecision, now time.Time) Standing {
	find := person(view)
	excluded := exclusions(c)
	s := Standing{Approved: []string{}}
	var approvals, attended []people.Voice
	rejected := map[string]bool{}
	for _, v := range c.Votes {
		voice, err := e.verifyVote(view, c, v)
		if err != nil {
			s.Refused = append(s.Refused, fmt.Sprintf("%s: %v", v.Person, err))
			continue
		}
		switch statement.Decision(v.Decision) {
		case statement.Approve:
			approvals = append(approvals, voice)
		case statement.Attend:
			attended = append(attended, voice)
		case statement.Reject:
			rejected[v.Person] = true
		}
	}
	counted := s.count(view, approvals, excluded, takes, requesterPerson(c, find), now)
	for _, w := range people.Count(attended, people.RoleWitness, excluded, now).Counted {
		if !slices.ContainsFunc(counted, func(p *people.Person) bool { return p.ID == w.ID }) {
			s.Witnesses = append(s.Witnesses, w.ID)
		}
	}
	need := e.needs(c, takes)
	requester := requesterPerson(c, find)
	s.Missing = missing(counted, requester, takes, need, now)
	if takes.Witness && len(s.Witnesses) == 0 {
		s.Missing = append(s.Missing, "a witness who attends and signs")
	}
	s.Met = len(s.Missing) == 0
	s.reach(view, c, counted, rejected, excluded, takes, need, now)
	return s
}

// needs is the number of approvals: policy's, never under the floor; for shares the threshold.
func (e *Engine) needs(c *Ceremony, takes policies.QuorumDecision) int {
	switch takes.Class {
	case policies.Attended:
		return max(takes.Approvals, c.Threshold, 2)
	case policies.Governed:
		return max(takes.Approvals, floor(e.door.Instance().Mode))
	}
	return 0 // the requester alone, or the decision cited
}

// exclusions: the requester never approves; the subject neither approves nor rejects.
func exclusions(c *Ceremony) map[string]string {
	out := map[string]string{}
	for _, id := range c.Subjects {
		out[id] = people.CodeExcludedSubject
	}
	if c.Administrator != "" {
		out[c.Administrator] = codeAdministrator
	}
	if c.Requester.Kind == identity.Human {
		out[c.Requester.ID] = people.CodeExcludedRequester
	}
	return out
}

func requesterPerson(c *Ceremony, find people.Lookup) *people.Person {
	if c.Requester.Kind != identity.Human {
		return nil
	}
	return find(c.Requester.ID)
}

// count is the approvals that count.
func (s *Standing) count(view *store.View, voices []people.Voice, excluded map[string]string, takes policies.QuorumDecision, requester *people.Person, now time.Time) []*people.Person {
	t := people.Count(voices, "", excluded, now)
	for _, r := range t.Refused {
		s.Refused = append(s.Refused, r.Error())
	}
	var counted []*people.Person
	for _, p := range t.Counted {
		if why := unfit(view, p, takes, requester, now); why != "" {
			s.Refused = append(s.Refused, p.ID+": "+why)
			continue
		}
		counted = append(counted, p)
		s.Approved = append(s.Approved, p.ID)
	}
	return counted
}

// unfit says why an otherwise eligible person's approval does not count for this operation; "" when it does.
func unfit(view *store.View, p *people.Person, takes policies.QuorumDecision, requester *people.Person, now time.Time) string {
	if len(takes.ApproverRoles) > 0 && !slices.ContainsFunc(takes.ApproverRoles, func(r string) bool {
		return people.Eligible(p, people.Role(r), now) == nil
	}) {
		return "holds none of the roles " + strings.Join(takes.ApproverRoles, ", ")
	}
	if !takes.Diversity.ReportingLine || requester == nil {
		return ""
	}
	line := people.Line(p, person(view))
	if slices.Contains(line, requester.ID) {
		return "reports to the requester"
	}
	for _, manager := range line { // beyond a record that is not to be believed the requester may stand
		var tampered *store.TamperedError
		if _, err := view.Get(custodian.KindPerson, manager); errors.As(err, &tampered) {
			return "reports to " + manager + ", whose record contradicts the ledger"
		}
	}
	return ""
}

// missing says in words what the counted people lack.
func missing(counted []*people.Person, requester *people.Person, takes policies.QuorumDecision, need int, now time.Time) []string {
	var out []string
	if lack := need - len(counted); lack > 0 {
		out = append(out, amount.Of(lack, "more approval"))
	}
	if need == 0 {
		return out
	}
	t := people.Tally{Counted: counted}
	for _, r := range takes.Roles {
		if lack := r.Count - t.InRole(people.Role(r.Role), now); lack > 0 {
			out = append(out, fmt.Sprintf("%s in the role %s among the approvals", amount.Of(lack, "person"), r.Role))
		}
	}
	all := t
	if requester != nil {
		all.Counted = append(slices.Clone(counted), requester)
	}
	if lack := takes.Diversity.Teams - all.Teams(); takes.Diversity.Teams > 1 && lack > 0 {
		out = append(out, "people of "+amount.Of(lack, "more team"))
	}
	if lack := takes.Diversity.Sites - all.Sites(); takes.Diversity.Sites > 1 && lack > 0 {
		out = append(out, "people of "+amount.Of(lack, "more site"))
	}
	return out
}

// reach finds who could still approve, and whether the quorum can be reached with them. While records of people
// contradict the ledger that cannot be denied: editing the database must not turn one rejection into an end.
func (s *Standing) reach(view *store.View, c *Ceremony, counted []*people.Person, rejected map[string]bool, excluded map[string]string, takes policies.QuorumDecision, need int, now time.Time) {
	find := person(view)
	requester := requesterPerson(c, find)
	possible := slices.Clone(counted)
	witness := len(s.Witnesses) > 0
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if excluded[p.ID] != "" || rejected[p.ID] || slices.Contains(s.Approved, p.ID) {
			continue
		}
		witness = witness || people.Eligible(p, people.RoleWitness, now) == nil
		if people.Eligible(p, "", now) == nil && unfit(view, p, takes, requester, now) == "" {
			possible = append(possible, p)
			s.Eligible = append(s.Eligible, p.ID)
		}
	}
	s.Reachable = len(missing(possible, requester, takes, need, now)) == 0 && (witness || !takes.Witness) ||
		len(view.Tampered(custodian.KindPerson)) > 0
}

// verifyVote checks a stored vote against the then current register: the signature, and that it covers
// exactly this ceremony.
func (e *Engine) verifyVote(view *store.View, c *Ceremony, v Vote) (people.Voice, error) {
	p := person(view)(v.Person)
	if p == nil {
		return people.Voice{}, &IneligibleError{v.Person, people.CodeUnknown, "not in the register"}
	}
	envelope, err := dsse.Parse(v.Envelope)
	if err != nil {
		return people.Voice{}, err
	}
	i := slices.IndexFunc(p.ApprovalKeys, func(k people.Credential) bool { return k.ID == envelope.KeyID() })
	if i < 0 {
		return people.Voice{}, &IneligibleError{v.Person, "credential", "signed with a key that is not theirs"}
	}
	payload, err := envelope.Verify(statement.TypeStatement, p.ApprovalKeys[i])
	if err != nil {
		return people.Voice{}, err
	}
	signed, err := statement.Parse(payload)
	if err != nil {
		return people.Voice{}, err
	}
	if err := e.covers(c, signed, v.Person, statement.Decision(v.Decision)); err != nil {
		return people.Voice{}, err
	}
	return people.Voice{Person: p, Credential: p.ApprovalKeys[i].ID}, nil
}

// covers says whether a signed statement is about exactly this ceremony, person and decision.
func (e *Engine) covers(c *Ceremony, got statement.Statement, signer string, decision statement.Decision) error {
	want, err := e.statement(c, signer, decision, got.IssuedAt)
	if err != nil {
		return err
	}
	differs := func(field string) error { return fmt.Errorf("%w: %s differs", ErrStatement, field) }
	switch {
	case got.Instance != want.Instance:
		return differs("instance")
	case got.Ceremony != want.Ceremony:
		return differs("ceremony")
	case got.Operation != want.Operation:
		return differs("operation")
	case string(got.Params) != string(want.Params):
		return differs("params")
	case got.Target != want.Target:
		return differs("target")
	case got.Policy != want.Policy:
		return differs("policy")
	case got.Checkpoint != want.Checkpoint:
		return differs("checkpoint")
	case got.Requester != want.Requester:
		return differs("requester")
	case got.Signer != want.Signer:
		return differs("signer")
	case got.Decision != want.Decision:
		return differs("decision")
	case got.Nonce != want.Nonce:
		return differs("nonce")
	case got.ExpiresAt.Before(c.ExpiresAt) || got.ExpiresAt.After(c.deadline()): // a vote during the wait lasts as long as the ceremony
		return differs("expires_at")
	case got.Mode != want.Mode:
		return differs("mode")
	}
	return nil
}

// statement is what signer would sign for a decision.
func (e *Engine) statement(c *Ceremony, signer string, decision statement.Decision, issued time.Time) (statement.Statement, error) {
	checkpoint, err := parseCheckpoint(c.Checkpoint)
	if err != nil {
		return statement.Statement{}, fmt.Errorf("ceremony %s: %w", c.ID, err)
	}
	s := statement.Statement{
		Instance: e.door.Instance().ID, Ceremony: c.ID, Operation: c.Operation, Params: c.Params,
		Target: statement.Target{Type: c.Target.Type, ID: c.Target.ID, GovRevision: c.Target.GovRevision},
		Policy: c.PolicyDigest, Checkpoint: checkpoint,
		Requester: c.Requester.Name(), Signer: signer, Decision: decision, Nonce: c.Nonce,
		IssuedAt: issued, ExpiresAt: c.deadline().Truncate(time.Millisecond), Mode: statement.Mode(e.door.Instance().Mode),
	}
	return s, nil
}

// parseCheckpoint reads "size root".
func parseCheckpoint(text string) (statement.Checkpoint, error) {
	size, root, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(size, 10, 63)
	raw, errRoot := base64.StdEncoding.DecodeString(root)
	if err != nil || errRoot != nil || len(raw) != 32 {
		return statement.Checkpoint{}, fmt.Errorf("checkpoint %q is not a size and a root", clip(text))
	}
	return statement.Checkpoint{Size: n, Root: [32]byte(raw)}, nil
}
