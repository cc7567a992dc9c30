package ceremony_test

import (
	"bytes"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// edit changes what the database holds of a row, behind the ledger's back and while the service runs, and lets the
// sweep find it. The function it returns puts the row right again.
func (r *rig) edit(t *testing.T, kind store.Kind, id, from, to string) (undo func()) {
	t.Helper()
	row, err := r.Store.View().Get(kind, id)
	require.NoError(t, err)
	edited := bytes.Replace(row.Body, []byte(from), []byte(to), 1)
	require.NotEqual(t, row.Body, edited, "nothing to edit")
	db, err := sql.Open("sqlite3", r.Config.DSN+"?_busy_timeout=5000")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	write := func(body []byte) {
		_, err := db.Exec(`UPDATE authority_rows SET body = ? WHERE kind = ? AND id = ?`, body, string(kind), id)
		require.NoError(t, err)
		_, err = r.Store.Integrity(t.Context())
		require.NoError(t, err)
	}
	write(edited)
	return func() { write(row.Body) }
}

// A ceremony that is over and that somebody sets back by SQL is not carried out again, neither at once nor by the
// process after this one.
func TestInvariant08_AnEndedCeremonySetBackIsNotRunAgain(t *testing.T) {
	for _, to := range []ceremony.State{ceremony.Executing, ceremony.Approved, ceremony.Indeterminate} {
		t.Run(string(to), func(t *testing.T) {
			r := newRig(t, custodian.Production)
			c := r.propose(t, "demo-cleo", "key.create")
			r.vote(t, "demo-ada", c.ID, "approve")
			require.Equal(t, ceremony.Completed, r.vote(t, "demo-ben", c.ID, "approve").State)
			r.edit(t, ceremony.Kind, c.ID, `"state":"completed"`, `"state":"`+string(to)+`"`)
			for range 2 {
				require.NoError(t, r.engine.Recover(t.Context()))
				require.NoError(t, r.engine.Tick(t.Context()))
				var tampered *store.TamperedError
				_, _, err := r.engine.Execute(t.Context(), human("demo-cleo"), c.ID)
				require.ErrorAs(t, err, &tampered)
				_, err = r.engine.Statement(t.Context(), human("demo-dan"), c.ID, "approve")
				require.ErrorAs(t, err, &tampered)
				require.EqualValues(t, 1, r.effect.outside.Load())
				require.Equal(t, 1, r.done(t, "key.create"))
				r.Restart(t)
				r.restart(t)
			}
		})
	}
}

// Hiding a manager from the register does not hide that their people report to the requester.
func TestInvariant08_AHiddenManagerFreesNobody(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.governed.class = "restricted"
	r.person(t, "demo-dan", func(p *people.Person) { p.Manager = "demo-wim" })
	r.person(t, "demo-wim", func(p *people.Person) { p.Manager = "demo-cleo" })
	c := r.propose(t, "demo-cleo", "key.resume")
	require.True(t, c.Takes.Diversity.ReportingLine)
	_, err := r.engine.Statement(t.Context(), human("demo-dan"), c.ID, "approve")
	denied(t, err, people.CodeWrongRole)
	undo := r.edit(t, custodian.KindPerson, "demo-wim", `"manager":"demo-cleo"`, `"manager":"demo-eve1"`)
	_, err = r.engine.Statement(t.Context(), human("demo-dan"), c.ID, "approve")
	denied(t, err, people.CodeWrongRole)
	r.vote(t, "demo-ada", c.ID, "approve")
	require.NotContains(t, r.engine.Standing(r.state(t, c.ID)).Eligible, "demo-dan")
	undo()
	require.Equal(t, ceremony.Completed, r.vote(t, "demo-ben", c.ID, "approve").State)
}

// Hiding people from the register makes no approval of theirs count, and no rejection the last word.
func TestInvariant08_HiddenPeopleNeitherApproveNorMakeAnEnd(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.propose(t, "demo-cleo", "key.resume")
	require.Equal(t, ceremony.Proposed, r.vote(t, "demo-ada", c.ID, "reject").State)
	undo := r.edit(t, custodian.KindPerson, "demo-ben", `"status":"active"`, `"status":"left"`)
	require.Equal(t, ceremony.Proposed, r.vote(t, "demo-dan", c.ID, "reject").State)
	undo()
	c = r.vote(t, "demo-ben", c.ID, "reject")
	require.Equal(t, ceremony.Rejected, c.State, "with everybody back the register speaks again")

	r.approved(t, "key.resume")
	undo = r.edit(t, custodian.KindPerson, "demo-ada", `"status":"active"`, `"status":"left"`)
	require.ErrorIs(t, r.engine.Tick(t.Context()), ceremony.ErrQuorum)
	require.Zero(t, r.done(t, "key.resume"))
	undo()
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, 1, r.done(t, "key.resume"))
}
