package ceremony_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/script"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// codeOf is the code under which somebody was refused.
func codeOf(err error) string {
	var denied *custodian.Denied
	if errors.As(err, &denied) {
		return denied.Code
	}
	return ""
}

// newScriptRig adds who leads ceremonies and who closes what deviated.
func newScriptRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, custodian.Production)
	for id, role := range map[string]people.Role{"demo-adm": people.RoleAdministrator, "demo-aud": people.RoleAuditor} {
		signer, err := keyfile.Generate(id, "ES256")
		require.NoError(t, err)
		r.signers[id] = signer
		credential, err := signer.Public().Credential(r.Clock.Now())
		require.NoError(t, err)
		r.Put(t, custodian.KindPerson, id, people.Person{ID: id, Name: id, Roles: []people.Role{role}, Team: "audit", Site: "south", Status: people.StatusActive,
			AddedBy: "genesis", AddedAt: r.Clock.Now(), ApprovalKeys: []people.Credential{credential},
			Acknowledgement: &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: r.Clock.Now(),
				ExpiresAt: r.Clock.Now().Add(people.AcknowledgementPeriod), Envelope: json.RawMessage(`{}`)}})
	}
	return r
}

func (r *rig) act(t *testing.T, who, id string, a script.Act) *script.Run {
	t.Helper()
	run, err := r.engine.ActInRun(t.Context(), human(who), id, a)
	require.NoError(t, err)
	return run
}

func (r *rig) signOff(t *testing.T, who, id, words string) (*script.Run, error) {
	t.Helper()
	run, err := r.engine.Run(id)
	require.NoError(t, err)
	payload, err := run.Opinion(r.Instance.ID, who, words)
	require.NoError(t, err)
	envelope, err := r.signers[who].Sign(statement.TypeSignOff, payload)
	require.NoError(t, err)
	return r.engine.ActInRun(t.Context(), human(who), id, script.Act{Kind: script.Sign, Statement: words, Envelope: envelope})
}

func begin(t *testing.T, r *rig, id string) {
	t.Helper()
	_, err := r.engine.BeginRun(t.Context(), human("demo-adm"), id, "room 7", "south")
	require.NoError(t, err)
	r.act(t, "demo-wim", id, script.Act{Kind: script.Arrive, Role: script.Witness, Site: "south"})
	r.act(t, "demo-ada", id, script.Act{Kind: script.Arrive, Role: script.Custodian, Site: "north"})
}

// A ceremony held by its script runs only when everything before it is done; what deviates is closed by an auditor.
func TestACeremonyIsHeldByItsScript(t *testing.T) {
	r := newScriptRig(t)
	c := r.propose(t, "demo-cleo", "key.resume")
	begin(t, r, c.ID)
	r.vote(t, "demo-ada", c.ID, "approve")
	c = r.vote(t, "demo-ben", c.ID, "approve")
	require.Equal(t, ceremony.Approved, c.State, "the quorum is reached, the script is not opened")
	require.Zero(t, r.done(t, "key.resume"))
	_, _, err := r.engine.Execute(t.Context(), human("demo-ada"), c.ID)
	require.ErrorIs(t, err, ceremony.ErrQuorum)

	r.act(t, "demo-wim", c.ID, script.Act{Kind: script.Identify, Person: "demo-ada", Document: "staff card"})
	r.act(t, "demo-adm", c.ID, script.Act{Kind: script.DoStep, Number: 1, Actual: "complete", AsExpected: true})
	run := r.act(t, "demo-adm", c.ID, script.Act{Kind: script.DoStep, Number: 2, Actual: "one screen was dark",
		What: "Ben read it from paper", Why: "his screen failed", DecidedBy: "demo-wim", Impact: "none"})
	require.Len(t, run.Deviations, 1)
	require.Equal(t, ceremony.Completed, r.state(t, c.ID).State, "nothing was missing any more")
	require.Equal(t, 1, r.done(t, "key.resume"))

	tick(t, r, 0) // writes down how it ended
	require.Equal(t, "completed with exceptions", r.state(t, c.ID).Outcome)
	run = r.act(t, "demo-adm", c.ID, script.Act{Kind: script.DoStep, Number: 4, Actual: "as said", AsExpected: true})
	require.Equal(t, script.Performed, run.State)
	_, err = r.signOff(t, "demo-adm", c.ID, "the script was followed")
	require.ErrorIs(t, err, ceremony.ErrNotNow, "the witness has not initialled")
	r.act(t, "demo-wim", c.ID, script.Act{Kind: script.Initial, Number: 4})
	for _, id := range []string{"demo-adm", "demo-wim"} {
		_, err = r.signOff(t, id, c.ID, "the script was followed but for one deviation")
		require.NoError(t, err)
	}
	run, err = r.signOff(t, "demo-ada", c.ID, "I saw the same")
	require.NoError(t, err)
	require.Equal(t, script.Signed, run.State)

	closing := script.Act{Kind: script.Close, Number: 1, Finding: "paper and screen agreed"}
	_, err = r.engine.ActInRun(t.Context(), human("demo-ada"), c.ID, closing)
	require.Equal(t, people.CodeWrongRole, codeOf(err))
	run = r.act(t, "demo-aud", c.ID, closing)
	require.Zero(t, run.Open())
	require.Equal(t, "completed, exceptions closed", r.state(t, c.ID).Outcome)
	for _, s := range run.SignOffs {
		p, _, err := store.Get[people.Person](r.Store.View(), custodian.KindPerson, s.Person)
		require.NoError(t, err)
		require.NoError(t, run.CheckSignOff(s, p, r.Instance.ID), "still verifies after the deviation was closed")
	}
}

// Whoever leads decides nothing, and whoever decided does not lead.
func TestInvariant03_TheAdministratorDecidesNothing(t *testing.T) {
	r := newScriptRig(t)
	r.person(t, "demo-dan", func(p *people.Person) { p.Roles = []people.Role{people.RoleAdministrator, people.RoleKeyManager} })
	c := r.propose(t, "demo-cleo", "key.resume")
	_, err := r.engine.BeginRun(t.Context(), human("demo-cleo"), c.ID, "room 7", "south")
	require.Error(t, err, "no administrator")
	_, err = r.engine.BeginRun(t.Context(), human("demo-dan"), c.ID, "room 7", "south")
	require.NoError(t, err)
	_, err = r.engine.Statement(t.Context(), human("demo-dan"), c.ID, "approve")
	require.Equal(t, "administrator", codeOf(err))
	_, err = r.engine.BeginRun(t.Context(), human("demo-adm"), c.ID, "room 7", "south")
	require.ErrorIs(t, err, ceremony.ErrNotNow, "one run a ceremony")

	other := r.propose(t, "demo-cleo", "key.resume")
	r.vote(t, "demo-dan", other.ID, "approve")
	_, err = r.engine.BeginRun(t.Context(), human("demo-dan"), other.ID, "room 7", "south")
	require.Equal(t, "administrator", codeOf(err))
}

// A script that nobody goes on with keeps nothing up for good: it is given up, on the record.
func TestInvariant12_AScriptHoldsNobodyUp(t *testing.T) {
	r := newScriptRig(t)
	c := r.propose(t, "demo-cleo", "key.resume")
	enough := script.Act{Kind: script.Abandon, Reason: "enough"}
	begin(t, r, c.ID)
	_, err := r.engine.ActInRun(t.Context(), human("demo-dan"), c.ID, enough)
	require.Equal(t, people.CodeWrongRole, codeOf(err), "who takes no part ends nothing")
	r.act(t, "demo-wim", c.ID, enough)
	require.Equal(t, script.Running, r.act(t, "demo-wim", c.ID, enough).State, "one who takes part asks for it")
	r.vote(t, "demo-dan", c.ID, "approve")
	require.Equal(t, script.Abandoned, r.act(t, "demo-dan", c.ID, enough).State, "the second ends it")
	require.Empty(t, r.state(t, c.ID).Administrator)

	r.Clock.Advance(time.Minute)
	begin(t, r, c.ID)
	earlier := 0
	for row, run := range store.All[script.Run](r.View(), ceremony.KindRun) {
		if row.ID != c.ID {
			earlier++
			require.Equal(t, script.Abandoned, run.State, "what was recorded stays")
		}
	}
	require.Equal(t, 1, earlier)
	require.Equal(t, script.Abandoned, r.act(t, "demo-cleo", c.ID, enough).State, "who asked for the ceremony, alone")
	require.Equal(t, ceremony.Completed, r.vote(t, "demo-ada", c.ID, "approve").State)

	require.NoError(t, r.Soft.Deactivate(t.Context()))
	c, err = r.engine.ActivationFor(t.Context(), custodiantestKeystore)
	require.NoError(t, err)
	_, err = r.engine.BeginRun(t.Context(), human("demo-adm"), c.ID, "room 7", "south")
	require.NoError(t, err)
	for _, id := range []string{"demo-ada", "demo-ben", "demo-dan"} {
		c, err = r.bring(t, id, c.ID, nil)
		require.NoError(t, err)
	}
	require.Equal(t, ceremony.Completed, c.State, "a script with nobody on its roll but who leads holds no shares up")
}

// Each act takes its own members, in the order of the script, from who is on the roll.
func TestActsOutOfPlaceAreRefused(t *testing.T) {
	r := newScriptRig(t)
	c := r.propose(t, "demo-cleo", "key.resume")
	begin(t, r, c.ID)
	head := r.Store.View().Head().Size
	for field, a := range map[string]script.Act{
		"act":        {Kind: "dance"},
		"number":     {Kind: script.DoStep, Number: 2, Actual: "x", AsExpected: true},
		"actual":     {Kind: script.DoStep, Number: 1, AsExpected: true},
		"what":       {Kind: script.DoStep, Number: 1, Actual: "x"},
		"finding":    {Kind: script.DoStep, Number: 1, Actual: "x", AsExpected: true, Finding: "y"},
		"decided_by": {Kind: script.Deviate, What: "a", Why: "b", DecidedBy: "nobody", Impact: "c"},
		"step":       {Kind: script.Deviate, Step: 99, What: "a", Why: "b", DecidedBy: "demo-adm", Impact: "c"},
		"envelope":   {Kind: script.Sign, Statement: "x"},
	} {
		_, err := r.engine.ActInRun(t.Context(), human("demo-adm"), c.ID, a)
		var bad *key.FieldError
		require.ErrorAs(t, err, &bad, field)
		require.Equal(t, field, bad.Field)
		require.NotEmpty(t, bad.Allowed)
	}
	require.Equal(t, head, r.Store.View().Head().Size, "nothing was written down")
	_, err := r.engine.ActInRun(t.Context(), human("demo-wim"), c.ID, script.Act{Kind: script.DoStep, Number: 1, Actual: "x", AsExpected: true})
	require.Equal(t, people.CodeWrongRole, codeOf(err))
	_, err = r.engine.ActInRun(t.Context(), human("demo-wim"), c.ID, script.Act{Kind: script.Identify, Person: "demo-ada", Document: "passport 4711"})
	require.Error(t, err, "a document's number is nobody's business")
	_, err = r.engine.ActInRun(t.Context(), human("demo-eve"), c.ID, script.Act{Kind: script.Arrive, Role: script.Witness, Site: "west"})
	require.Equal(t, people.CodeWrongRole, codeOf(err))
}
