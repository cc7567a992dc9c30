package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// Bounds of access. None is a standard's, but for the six months of PCI DSS 4.0.1, 7.2.4.
const (
	longestGrant   = 366 * day // life of a grant or token
	unusedAfter    = 90 * day  // a grant that nobody used for so long is doubtful
	accessReviewIn = 183 * day // six months
)

// conflicts are roles that one person does not hold together (ours, after ISO 11568 and NIST SP 800-53 AC-5).
var conflicts = [][2]people.Role{
	{people.RoleAdministrator, people.RoleCustodian}, {people.RoleAuditor, people.RoleAdministrator}, {people.RoleAuditor, people.RoleSecurityOfficer},
	{people.RoleAuditor, people.RoleKeyManager}, {people.RoleAuditor, people.RoleCustodian},
}

// present lists who is active as of the report.
func present(ev *control.Evidence) []control.Record[people.Person] {
	return slices.DeleteFunc(slices.Clone(ev.People), func(p control.Record[people.Person]) bool {
		return p.Value.Status != people.StatusActive || p.Value.AddedAt.After(ev.Now)
	})
}

// separation judges whether duties that must be apart are.
func separation(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Roles of every active person", "person|id", "name", "roles", "team", "site", "since|time")
	for _, p := range present(ev) {
		var f control.Faults
		f.Check(len(p.Value.Roles) > 0, "holds no role, and is active")
		for _, pair := range conflicts {
			f.Check(!has(p.Value, pair[0]) || !has(p.Value, pair[1]), fmt.Sprintf("is both %s and %s", pair[0], pair[1]))
		}
		t.Add(control.OK, f, control.Proves(p.Ref), p.Value.ID, p.Value.Name, words(p.Value.Roles), p.Value.Team, p.Value.Site, control.Time(p.Value.AddedAt))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each with at least one role, and nobody with two that must be apart.", amount.Of(t.Total, "active person")),
		Bad:    fmt.Sprintf("%s with roles that must be apart, or without any.", of(t.Violating, t.Total, "active person")),
		Empty:  "Nobody is active in the register.",
	})
}

// grantsAt lists the grants that were in force as of the report.
func grantsAt(ev *control.Evidence) []control.Record[access.Grant] {
	return slices.DeleteFunc(slices.Clone(ev.Grants), func(g control.Record[access.Grant]) bool {
		v := g.Value
		return v.CreatedAt.After(ev.Now) || !v.ExpiresAt.After(ev.Now) || (v.RevokedAt != nil && !v.RevokedAt.After(ev.Now))
	})
}

func application(ev *control.Evidence, id string) *control.Record[access.Application] {
	i := slices.IndexFunc(ev.Applications, func(a control.Record[access.Application]) bool { return a.Value.ID == id })
	if i < 0 {
		return nil
	}
	return &ev.Applications[i]
}

// grants judges whether access is what the job needs and no more: each grant names one application, one key and the
// operations, ends, and is used.
func grants(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Grants in force", "grant|id", "application|id", "key|id", "operations", "until|time", "uses in the period|integer", "last use|time")
	for _, g := range grantsAt(ev) {
		addGrant(ev, t, g)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s in force, each for one application, one key and named operations, with an end.", amount.Of(t.Total, "grant")),
		Bad:    fmt.Sprintf("%s for more than the job needs.", of(t.Violating, t.Total, "grant")),
		Holds:  true,
		Empty:  "No grant is in force, so no access is shown.",
		Doubt:  "Some grants were not used for 90 days. What are they for?",
	})
}

func addGrant(ev *control.Evidence, t *control.Table, g control.Record[access.Grant]) {
	v := g.Value
	proof := control.Proves(g.Ref)
	var f control.Faults
	app := application(ev, v.Application)
	f.Check(app != nil, "its application is not in the register")
	if app != nil {
		proof.Rows = append(proof.Rows, app.Ref)
		f.Check(app.Value.Status == "active", "its application is "+app.Value.Status)
	}
	f.Check(ev.Key(v.Key) != nil, "its key is not in the register")
	f.Check(len(v.Operations) > 0, "it names no operation")
	f.Check(v.ExpiresAt.Sub(v.CreatedAt) <= longestGrant, "it lasts longer than a year")
	uses, last := 0, time.Time{}
	for who, tally := range ev.Events.Doers(control.Uses) {
		if who.Kind == "application" && who.ID == v.Application && who.What == v.Key {
			uses, last = tally.Allowed, tally.LastAt
			proof = proof.And(tally.First, tally.Last)
		}
	}
	state := control.OK
	if uses == 0 && ev.Now.Sub(v.CreatedAt) > unusedAfter && ev.To.Sub(ev.From) >= unusedAfter {
		state = control.Attention
	}
	t.Add(state, f, proof, v.ID, v.Application, v.Key, words(v.Operations), control.Time(v.ExpiresAt), control.Int(uses), control.Time(last))
}

// approvedAccess judges whether somebody who may decided on every access that is in force.
func approvedAccess(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Who decided on the access in force", "access|id", "what", "for|id", "key|id", "ceremony|id", "class", "asked|id", "approved by")
	for _, g := range grantsAt(ev) {
		k := ev.Key(g.Value.Key)
		protected := k == nil || governedClass(k.Value.Classification)
		addDecision(ev, t, g.Ref, g.Value.ID, "grant", g.Value.Application, g.Value.Key, g.Value.CreatedBy, protected)
	}
	for _, a := range ev.Applications {
		if a.Value.Status == "active" && !a.Value.EnrolledAt.After(ev.Now) {
			addDecision(ev, t, a.Ref, a.Value.ID, "enrolment", a.Value.Owner, "", a.Value.EnrolledBy, false)
		}
	}
	for _, p := range present(ev) {
		addDecision(ev, t, p.Ref, p.Value.ID, "person, with roles: "+words(p.Value.Roles), p.Value.ID, "", p.Value.AddedBy, false)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each with the ceremony that decided on it; what touches protected keys was approved by at least two others.", amount.Of(t.Total, "access right")),
		Bad:    fmt.Sprintf("%s without a decision by those who may.", of(t.Violating, t.Total, "access right")),
		Empty:  "Nobody is active and no grant is in force, so no access is shown.",
	})
}

// governedClass: access to keys of these classifications always takes a quorum (policies' floor).
func governedClass(c key.Classification) bool {
	return !oneOf(string(c), "public", "internal", "confidential")
}

func addDecision(ev *control.Evidence, t *control.Table, ref control.Ref, id, what, whom, keyID, ceremony string, protected bool) {
	proof := control.Proves(ref)
	var f control.Faults
	c := ev.Ceremony(ceremony)
	if c == nil {
		f.Check(ceremony == "genesis", "no ceremony on record decided on it")
		t.Add(control.OK, f, proof, id, what, whom, keyID, ceremony, "", "", "")
		return
	}
	proof.Rows = append(proof.Rows, c.Ref)
	proof = proof.And(span(*c)...)
	f.Check(c.Value.State == "completed", "its ceremony is "+c.Value.State)
	f.Check(!slices.Contains(c.Value.Approvers, c.Value.Requester.ID), "who asked approved it")
	if protected && c.Value.Class != "A" && !ev.Instance.Development() {
		f.Check(c.Value.Class == "G" && len(c.Value.Approvers) >= leastApprovals, fmt.Sprintf("approved by %s, %d are demanded", amount.Of(len(c.Value.Approvers), "other"), leastApprovals))
	}
	t.Add(control.OK, f, proof, id, what, whom, keyID, c.Value.ID, className(c.Value.Class), c.Value.Requester.ID, list(c.Value.Approvers))
}

// accessReview judges whether somebody went over all access lately, and signed.
func accessReview(c control.Control) control.Evaluator {
	return func(_ context.Context, ev *control.Evidence) control.Result {
		t := reviewsOf(ev, c.ID, accessReviewIn, "the review of access", oldest(ev))
		return control.Conclude(control.Finding{
			Tables: []*control.Table{t, AccessRegister(ev)},
			Good:   "All access was reviewed within the last six months, and the review is signed.",
			Bad:    "No signed review of access within the last six months.",
			Empty:  "There is no access to review.",
			Open:   "Access has not been reviewed yet, and the review is not late. All access in force is listed below.",
			Doubt:  "Access has not been reviewed yet, and its time has not run out. Who reviews it, and when?",
		})
	}
}

// oldest is when the first person was added: from then on there is something to review.
func oldest(ev *control.Evidence) time.Time {
	var first time.Time
	for _, p := range ev.People {
		if first.IsZero() || p.Value.AddedAt.Before(first) {
			first = p.Value.AddedAt
		}
	}
	return first
}

// reviewsOf lists the signed reviews about a control of this evidence's framework, and says whether the last is young
// enough. From since on there was something to review.
func reviewsOf(ev *control.Evidence, id string, within time.Duration, what string, since time.Time) *control.Table {
	t := table("Signed statements: "+what, "statement|id", "signed by|id", "signed|time", "covers", "SHA-256 of what was reviewed|id", "says")
	var last time.Time
	for _, a := range ev.Attestations {
		if a.Value.Kind != oversight.AttestReview || !a.Value.Serves(ev.Framework, id) || a.Value.SignedAt.After(ev.Now) || withdrawn(a.Value, ev.Now) {
			continue
		}
		covers := ""
		if a.Value.CoversFrom != nil && a.Value.CoversTo != nil {
			covers = control.Time(*a.Value.CoversFrom) + " to " + control.Time(*a.Value.CoversTo)
		}
		state := control.Info
		if young := ev.Now.Sub(a.Value.SignedAt) <= within; young {
			state = control.OK
		}
		t.Note(state, "", control.Proves(a.Ref), a.Value.ID, a.Value.Signer, control.Time(a.Value.SignedAt), covers, a.Value.SHA256, a.Value.Statement)
		if a.Value.SignedAt.After(last) {
			last = a.Value.SignedAt
		}
	}
	if since.After(last) {
		last = since
	}
	switch {
	case t.Total > 0 && ev.Now.Sub(last) <= within, since.IsZero():
	case ev.Now.Sub(last) > within:
		t.Add(control.OK, control.Faults{fmt.Sprintf("none within the last %d days", int(within/day))}, control.Proof{}, "", "", control.Time(last), "", "", "")
	default:
		t.Note(control.Attention, "due by "+control.Time(last.Add(within)), control.Proof{}, "", "", "", "", "", "")
	}
	return t
}

func withdrawn(a oversight.Attestation, at time.Time) bool {
	return a.WithdrawnAt != nil && !a.WithdrawnAt.After(at)
}

// applications judges accounts of programs: each has an owner who is there, and no right without end.
func applications(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Applications", "application|id", "name", "environment", "owner|id", "status", "grants in force|integer", "keys")
	for _, a := range ev.Applications {
		if a.Value.EnrolledAt.After(ev.Now) {
			continue
		}
		proof := control.Proves(a.Ref)
		var f control.Faults
		owner := ev.Person(a.Value.Owner)
		active := a.Value.Status == "active"
		f.Check(!active || owner != nil, "its owner is not in the register")
		if owner != nil {
			proof.Rows = append(proof.Rows, owner.Ref)
			f.Check(!active || owner.Value.Status == people.StatusActive, "its owner is "+string(owner.Value.Status))
		}
		var keys []string
		for _, g := range grantsAt(ev) {
			if g.Value.Application != a.Value.ID {
				continue
			}
			keys = append(keys, g.Value.Key)
			proof.Rows = append(proof.Rows, g.Ref)
			if k := ev.Key(g.Value.Key); k != nil {
				f.Check(k.Value.Environment == a.Value.Environment, fmt.Sprintf("it is of %s and may use %s of %s", a.Value.Environment, k.Value.ID, k.Value.Environment))
			}
		}
		t.Add(control.OK, f, proof, a.Value.ID, a.Value.Name, a.Value.Environment, a.Value.Owner, a.Value.Status, control.Int(len(keys)), list(keys))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each with an owner who is there and rights in its own environment only.", amount.Of(t.Total, "application")),
		Bad:    fmt.Sprintf("%s without an owner who is there, or with rights elsewhere.", of(t.Violating, t.Total, "application")),
		Empty:  "No application is enrolled.",
	})
}

// policyInForce judges whether what decides on access was decided on itself, and that it refused what nothing allows.
func policyInForce(_ context.Context, ev *control.Evidence) control.Result {
	t := table("The policy bundle in force", "digest|id", "term|integer", "since|time", "decided by", "approved by")
	for _, p := range ev.Policies {
		proof := control.Proves(p.Ref)
		var f control.Faults
		approvers := ""
		if c := ev.Ceremony(p.Value.Ceremony); c != nil {
			proof.Rows = append(proof.Rows, c.Ref)
			approvers = list(c.Value.Approvers)
			f.Check(c.Value.State == "completed", "its ceremony is "+c.Value.State)
			f.Check(c.Value.Class == "S" || len(c.Value.Approvers) >= leastApprovals || ev.Instance.Development(), "fewer than two others approved it")
		} else {
			f.Check(p.Value.Ceremony == "genesis", "no ceremony on record put it in force")
		}
		t.Add(control.OK, f, proof, p.Value.Digest, control.Int(p.Value.Number), control.Time(p.Value.Since), p.Value.Ceremony, approvers)
	}
	refused := info(refusedTable(ev))
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, refused},
		Good:   "One policy bundle is in force, decided by those who may. Whatever it does not allow is refused, and so is whatever it fails to answer.",
		Bad:    "The policy in force was not decided by those who may.",
		Empty:  "No policy bundle is on record as in force.",
	})
}
