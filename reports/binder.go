package reports

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/amount"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/policies"
	"conclave/reports/control"
	"conclave/reports/control/judge"
)

// Bounds of a binder (ours): it is to be read on paper.
const (
	maxBinder  = 500   // ceremonies, the first ones
	maxEffects = 50    // ledger entries of one ceremony, the first ones
	maxQuoted  = 4_000 // bytes of parameters or of a result that are written out
)

// papers are what a ceremony's row holds besides what is judged of it.
type papers struct {
	Params       jsontext.Value          `json:"params"`
	Proposal     jsontext.Value          `json:"proposal"` // the requester's signed request
	PolicyDigest string                  `json:"policy_digest"`
	Takes        policies.QuorumDecision `json:"takes"`
	Result       jsontext.Value          `json:"result"`
	Votes        []struct {
		Person   string         `json:"person"`
		Envelope jsontext.Value `json:"envelope"`
	} `json:"votes"`
}

// bound is one ceremony with all that its transcript is made of.
type bound struct {
	control.Record[control.Ceremony]
	papers  papers
	run     *control.Record[scriptRun]
	effects []effect
	more    int    // effects beyond maxEffects
	last    uint64 // entry of the last effect
}

// effect is a ledger entry that a ceremony made.
type effect struct {
	seq                                        uint64
	at                                         time.Time
	kind, by, target, outcome, reason, changed string
}

// binder writes out each ceremony that ended in the period: what was asked, what policy demanded and why, the script as it
// was performed, what each person signed, and what came of it, with the entries that prove it.
func (r *Register) binder(ctx context.Context, src Source, ev *control.Evidence) error {
	r.Title = "Ceremony binder"
	list := make([]*bound, 0, len(ev.Ceremonies))
	for _, c := range ev.Ceremonies {
		if c.Value.EndedAt != nil && ev.InPeriod(*c.Value.EndedAt) {
			list = append(list, &bound{Record: c})
		}
	}
	slices.SortStableFunc(list, func(a, b *bound) int { return a.Value.EndedAt.Compare(*b.Value.EndedAt) })
	r.Intro = []string{fmt.Sprintf("Every ceremony that ended in the period, oldest first: %d. Each is written out whole: what was asked, what policy demanded and why, the script as it was performed, who signed what with which key, and what came of it.", len(list)),
		"Whoever signed a ceremony signed a statement: exact bytes, which are kept in the ceremony's row. Its SHA-256 stands beside each signature, and its members are written out once, since the statements under one ceremony differ in the signer, the decision and the time alone. Each signature was checked here by the key on record of the person named. An evidence bundle carries the statements with their signatures, and a ceremony's transcript, signed by a node, comes from conclave ceremony transcript."}
	if len(list) > maxBinder {
		r.Intro = append(r.Intro, fmt.Sprintf("Here are the first %d. Ask for a shorter period for the rest.", maxBinder))
		list = list[:maxBinder]
	}
	if err := fillBinder(ctx, src, list); err != nil {
		return err
	}
	for _, b := range list {
		r.part(b.Value.ID+": "+b.Value.Title, b.text(), b.tables(ev)...)
	}
	r.part("Who is who", nil, judge.WhoIsWho(ev))
	return nil
}

// fillBinder reads what ceremonies are made of: their rows, the records of their scripts, their entries.
func fillBinder(ctx context.Context, src Source, list []*bound) error {
	of := map[string]*bound{}
	for _, b := range list {
		of[b.Value.ID] = b
	}
	for ref, body := range src.Rows(kindCeremony) {
		if b := of[ref.ID]; b != nil {
			if err := json.Unmarshal(body, &b.papers); err != nil {
				return fmt.Errorf("reading ceremony %q: %w", ref.ID, err)
			}
		}
	}
	runs, err := read[scriptRun](src, kindRun)
	if err != nil {
		return err
	}
	for i := range runs {
		if b := of[runs[i].Value.Ceremony]; b != nil {
			b.run = &runs[i]
		}
	}
	err = src.ControlEntries(ctx, src.Checkpoint().Size, func(e *ledger.Entry, _ []byte) error {
		b := of[e.Ceremony]
		if b == nil {
			return ctx.Err()
		}
		b.last = e.Seq
		switch {
		case len(b.effects) == maxEffects:
			b.more++
		default:
			b.effects = append(b.effects, effectOf(e))
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("reading what ceremonies did: %w", err)
	}
	return src.Err()
}

func effectOf(e *ledger.Entry) effect {
	x := effect{seq: e.Seq, at: e.At, kind: strings.Clone(e.Type), by: e.Actor.ID, target: strings.TrimSpace(plainKind(e.Target.Type) + " " + e.Target.ID), outcome: string(e.Outcome), reason: strings.Clone(e.Reason)}
	if e.Actor.Kind != "human" {
		x.by = string(e.Actor.Kind) + ":" + e.Actor.ID
	}
	if e.Target.Version != 0 {
		x.target += fmt.Sprintf("/%d", e.Target.Version)
	}
	var changed []string
	for _, row := range e.Rows {
		changed = append(changed, fmt.Sprintf("%s %s, revision %d", plainKind(row.Kind), row.ID, row.Revision))
	}
	x.changed = strings.Join(changed, "; ")
	return x
}

// plainKind is the kind of a row in words.
func plainKind(kind string) string { return strings.ReplaceAll(kind, "_", " ") }

// asker is the person who asked for the ceremony and signed that; "" for one that a node began by itself.
func (b *bound) asker() string {
	if b.Value.Requester.Kind == "human" {
		return b.Value.Requester.ID
	}
	return b.Value.Requester.CalledBy
}

func (b *bound) text() []string {
	c := b.Value
	class := map[string]string{"G": "governed", "S": "attended by share holders", "P": "protective: one person, at once, reviewed", "A": "rests on an earlier decision", "D": "direct: one person"}[c.Class]
	by := b.asker()
	if c.Requester.Kind != "human" {
		by = strings.TrimSuffix(c.Requester.Kind+" "+c.Requester.ID+", at the call of "+by, ", at the call of ")
	}
	out := []string{fmt.Sprintf("%s, %s. Asked by %s at %s; ended %s: %s.", c.Operation, class, by, control.Time(c.ProposedAt), control.Time(*c.EndedAt), c.State)}
	if len(b.effects) > 0 {
		out = append(out, fmt.Sprintf("Ledger entries #%d to #%d.", b.effects[0].seq, b.last))
	}
	if c.Reason != "" {
		out = append(out, "Reason: "+c.Reason)
	}
	if c.Outcome != "" && c.Outcome != c.State {
		out = append(out, "Outcome: "+c.Outcome)
	}
	if c.Cites != "" {
		out = append(out, "Rests on ceremony "+c.Cites+".")
	}
	if c.Administrator != "" {
		out = append(out, "Led by its script by "+c.Administrator+".")
	}
	for _, d := range c.Deviations {
		out = append(out, "Deviation: "+d)
	}
	return out
}

func columns(names ...string) []control.Column {
	out := make([]control.Column, len(names))
	for i, name := range names {
		out[i] = control.Column{Name: name, Type: control.Text}
		switch name {
		case "at", "arrived", "left":
			out[i].Type = control.Instant
		case "entry", "step":
			out[i].Type = control.Integer
		case "person", "with key", "SHA-256 of what was signed": // broken at any character, where it is wide
			out[i].Type = control.ID
		}
	}
	return out
}

// tables are those of one ceremony that have something to say.
func (b *bound) tables(ev *control.Evidence) []*control.Table {
	proof := control.Proves(b.Ref)
	what := control.NewTable("What was decided", columns("matter", "before", "after")...)
	for _, l := range b.Value.Lines {
		what.Note(control.Info, "", proof, l.Label, l.Before, l.After)
	}
	who, statement := b.signatures(ev)
	all := append([]*control.Table{what, b.demanded()}, b.script(ev)...)
	all = append(all, who, statement, b.outcome())
	return slices.DeleteFunc(all, func(t *control.Table) bool { return t.Total == 0 })
}

// demanded is the decision of the policy, each point of it, and why.
func (b *bound) demanded() *control.Table {
	t := control.NewTable("What policy demanded, and why", columns("matter", "demand", "controls")...)
	q, proof := b.papers.Takes, control.Proves(b.Ref)
	say := func(matter, demand string) {
		if demand != "" {
			t.Note(control.Info, "", proof, matter, demand, "")
		}
	}
	approvals := ""
	if q.Approvals > 0 {
		approvals = fmt.Sprint(q.Approvals)
		if q.RequesterCounts {
			approvals += ", the requester among them"
		}
		if len(q.ApproverRoles) > 0 {
			approvals += ", each from a " + strings.Join(q.ApproverRoles, " or ")
		}
	}
	say("approvals", approvals)
	for _, role := range q.Roles {
		say("among them", fmt.Sprintf("%d %s", role.Count, role.Role))
	}
	if b.Value.ShareSet != "" {
		say("shares", fmt.Sprintf("%d of share set %s", b.Value.Threshold, b.Value.ShareSet))
	}
	for _, f := range []struct {
		asked bool
		text  string
	}{{q.Witness, "a witness attends and signs"}, {q.Script, "held by its written script"}, {q.StepUp, "presence is proven afresh at signing"}, {q.Precedent, "an earlier governed decision is cited"},
		{q.Diversity.Teams > 1, fmt.Sprintf("people of %d teams", q.Diversity.Teams)}, {q.Diversity.Sites > 1, fmt.Sprintf("people of %d sites", q.Diversity.Sites)},
		{q.Diversity.ReportingLine, "nobody approves who reports to the requester"}} {
		if f.asked {
			say("besides", f.text)
		}
	}
	for _, wait := range []struct {
		matter  string
		seconds int64
	}{{"cooling off", q.CoolingOffSeconds}, {"waiting period", q.WaitSeconds}, {"to be finished within", q.ExpirySeconds}, {"reviewed within", q.ReviewSeconds}} {
		if wait.seconds > 0 {
			say(wait.matter, span(time.Duration(wait.seconds)*time.Second))
		}
	}
	for _, reason := range q.Reasons {
		t.Note(control.Info, "", proof, "because", reason.Message, strings.Join(reason.Controls, ", "))
	}
	if t.Total > 0 {
		say("policy bundle", b.papers.PolicyDigest)
	}
	return t
}

// signatures are who signed, and the statement that they signed.
func (b *bound) signatures(ev *control.Evidence) (who, statement *control.Table) {
	proof := control.Proves(b.Ref)
	decided := map[string]string{"approve": "approved", "reject": "rejected", "attend": "attended"}
	who = control.NewTable("Who signed", columns("person", "did", "at", "with key", "SHA-256 of what was signed", "signature", "counted when it ran")...)
	statement = control.NewTable("The statement that they signed", columns("member", "value")...)
	if len(b.papers.Proposal) > 0 && b.papers.Proposal.Kind() == '{' {
		s := checkSignature(ev, b.asker(), b.papers.Proposal)
		who.Note(s.state(), "", proof, cmp.Or(b.asker(), b.Value.Requester.Kind+" "+b.Value.Requester.ID), "asked, by a signed request", control.Time(b.Value.ProposedAt), s.key, s.digest, s.verdict, "")
	}
	for i, v := range b.Value.Votes {
		counted := ""
		if slices.Contains(b.Value.Approvers, v.Person) {
			counted = "yes"
		}
		s := signature{key: v.Credential, verdict: "not kept"}
		if i < len(b.papers.Votes) && len(b.papers.Votes[i].Envelope) > 0 {
			s = checkSignature(ev, v.Person, b.papers.Votes[i].Envelope)
		}
		who.Note(s.state(), "", proof, v.Person, cmp.Or(decided[v.Decision], v.Decision), control.Time(v.At), s.key, s.digest, s.verdict, counted)
		if statement.Total == 0 {
			for _, m := range members(s.payload) {
				statement.Note(control.Info, "", proof, m[0], m[1])
			}
		}
	}
	for _, s := range b.Value.Shares {
		who.Note(control.Info, "", proof, s.Person, fmt.Sprintf("brought share %d of %s", s.Index, b.Value.ShareSet), control.Time(s.At), "", "", "", "yes")
	}
	return who, statement
}

// signature is one signed paper.
type signature struct {
	key, digest, verdict string
	payload              []byte
	bad                  bool
}

func (s signature) state() control.State {
	if s.bad {
		return control.Attention
	}
	return control.Info
}

// checkSignature holds an envelope against the keys on record of a person; one that was revoked since counted then.
func checkSignature(ev *control.Evidence, person string, envelope []byte) signature {
	e, err := dsse.Parse(envelope)
	if err != nil {
		return signature{verdict: "not readable", bad: true}
	}
	sum := sha256.Sum256(e.UnverifiedPayload())
	s := signature{key: e.KeyID(), digest: hex.EncodeToString(sum[:]), payload: e.UnverifiedPayload(), verdict: "by no key on record", bad: true}
	for _, p := range ev.People {
		if p.Value.ID != person {
			continue
		}
		for _, key := range p.Value.ApprovalKeys {
			if key.ID != e.KeyID() {
				continue
			}
			key.Revoked = false
			if _, err := e.Verify(e.PayloadType(), key); err != nil {
				s.verdict = "does not verify"
				return s
			}
			s.verdict, s.bad = "verified", false
			return s
		}
	}
	return s
}

// members are those of a statement that all signers have in common, in order of name.
func members(payload []byte) [][2]string {
	var all map[string]jsontext.Value
	if json.Unmarshal(payload, &all) != nil {
		return nil
	}
	var out [][2]string
	for name, value := range all {
		switch name {
		case "signer", "decision", "issued_at", "expires_at":
			continue
		}
		text := string(value)
		if value.Kind() == '"' {
			if json.Unmarshal(value, &text) != nil {
				text = string(value)
			}
		}
		out = append(out, [2]string{name, quoted(text)})
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return out
}

// quoted bounds what is written out, and says what was left out.
func quoted(text string) string {
	if len(text) <= maxQuoted {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%s … (%d bytes in all, SHA-256 %s)", strings.ToValidUTF8(text[:maxQuoted], "?"), len(text), hex.EncodeToString(sum[:]))
}

// outcome is what came of it: the entries that it made.
func (b *bound) outcome() *control.Table {
	t := control.NewTable("What came of it, in the ledger", columns("entry", "at", "what", "by", "of", "outcome", "rows changed")...)
	for _, e := range b.effects {
		outcome := e.outcome
		if e.reason != "" {
			outcome += ": " + e.reason
		}
		t.Note(control.Info, "", control.Proof{Ledger: []uint64{e.seq}}, control.Int(e.seq), control.Time(e.at), e.kind, e.by, e.target, outcome, e.changed)
	}
	if b.more > 0 {
		t.Note(control.Info, "", control.Proves(b.Ref), "", "", fmt.Sprintf("%s, up to #%d", amount.Of(b.more, "further entry"), b.last), "", "", "", "")
	}
	if result := string(b.papers.Result); result != "" && result != "null" {
		t.Note(control.Info, "", control.Proves(b.Ref), "", "", "the result", "", "", quoted(inWords(b.papers.Result)), "")
	}
	return t
}
