package bundle_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// records is a world in which people signed more than statements: a ceremony's record, a line of the custody log, their duty.
type records struct {
	*fixture.World
	run       map[string]any
	line      people.CustodyEntry
	record    fixture.Ceremony
	countersi fixture.Ceremony
	person    people.Person
}

func newRecords(t *testing.T) *records {
	t.Helper()
	w := fixture.New(t, custodian.Production)
	r := &records{World: w, person: w.History.People[0]}
	held := fixture.Governed("cer-held", "key.rotate", "cards", fixture.Now().Add(-time.Minute), "efua", "dana", "chen")
	w.Sign(t, w.History, held)
	w.PutCeremony(t, held)
	r.run = fixture.Run(t, "cer-held")
	w.SignRun(t, r.run)
	r.line = people.CustodyEntry{ID: "line-1", State: people.EntryEffective, Recorded: "cer-rec", Signed: "cer-sig", RecordedAt: fixture.Days(5), Facts: people.CustodyFacts{
		Form: "card-1", Kind: people.FormPaper, Set: "soft-set", Epoch: 1, Index: 1, Action: people.ActSeal, Who: "ada", Witness: "dana", At: fixture.Days(5), Purpose: "to the <safe>",
		NewSerial: "BAG-0001", Site: "north", Container: "safe 1"}}
	r.line.Digest = factsDigest(t, r.line.Facts)
	r.record = r.custody(t, "cer-rec", "custody.record", "ada", map[string]any{"form": "card-1", "action": "seal", "witness": "dana", "purpose": "to the <safe>",
		"new_serial": "BAG-0001", "site": "north", "container": "safe 1"})
	r.countersi = r.custody(t, "cer-sig", "custody.countersign", "dana", map[string]any{"entry": "line-1", "digest": r.line.Digest, "agree": true})
	return r
}

func (r *records) custody(t *testing.T, id, operation, who string, params map[string]any) fixture.Ceremony {
	t.Helper()
	c := fixture.Governed(id, operation, "card-1", fixture.Days(5), who)
	c["class"] = "D"
	c["params"] = params
	r.Sign(t, r.History, c)
	return c
}

func factsDigest(t *testing.T, f people.CustodyFacts) string {
	t.Helper()
	raw, err := json.Marshal(f)
	require.NoError(t, err)
	value := jsontext.Value(raw)
	require.NoError(t, value.Canonicalize())
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// What people signed before acknowledgements named the instance holds as it did, and it is said what that does not show.
func TestAcknowledgementsThatNameNoInstanceHold(t *testing.T) {
	t.Parallel()
	r, page := newRecords(t), openPage(t)
	terms := people.NewTerms("", &r.person, nil, r.person.Acknowledgement.SignedAt)
	r.person.Acknowledgement.Envelope = []byte(r.History.Signed(t, "ada", "application/vnd.conclave.acknowledgement+json", terms))
	r.put(t)
	path := write(t, r.World, r.Node)
	res, err := bundle.Verify(t.Context(), path, r.Trust(t))
	require.NoError(t, err)
	class, words, checks := page.verify(t, path, r.Trust(t))
	require.Equal(t, "good", class, words)
	for _, said := range []string{strings.Join(res.Checked, "\n"), checks} {
		require.Contains(t, said, "1 of them, signed before acknowledgements did so, names no instance")
	}
}

// put records everything as it stands, in newest revisions.
func (r *records) put(t *testing.T) {
	t.Helper()
	r.PutRun(t, r.run)
	r.PutCeremony(t, r.record)
	r.PutCeremony(t, r.countersi)
	r.Put(t, custodian.KindCustody, r.line.ID, r.line)
	r.Put(t, custodian.KindPerson, r.person.ID, r.person)
}

// fresh is a copy whose maps are its own.
func (r *records) fresh() *records {
	own := *r
	own.run, own.record, own.countersi = maps.Clone(r.run), maps.Clone(r.record), maps.Clone(r.countersi)
	a := *r.person.Acknowledgement
	own.person.Acknowledgement = &a
	return &own
}

func signOffs(run map[string]any) []map[string]any { return run["sign_offs"].([]map[string]any) }

// first gives a run its first sign-off changed, the others as they are.
func first(run map[string]any, change func(s map[string]any)) {
	own := append([]map[string]any{maps.Clone(signOffs(run)[0])}, signOffs(run)[1:]...)
	change(own[0])
	run["sign_offs"] = own
}

// What people signed of a ceremony's record, of the custody log and of their duty is verified by program and page alike, and
// whatever of it is not so is named.
func TestInvariant02_RecordsThatPeopleDidNotSignAreNamed(t *testing.T) {
	t.Parallel()
	good := newRecords(t)
	page := openPage(t)
	good.put(t)
	path := write(t, good.World, good.Node)
	res, err := bundle.Verify(t.Context(), path, good.Trust(t))
	require.NoError(t, err)
	require.Equal(t, []int{2, 5, 1}, []int{res.SignOffs, res.Acknowledgements, res.Countersigned})
	said := strings.Join(res.Checked, "\n")
	require.NotContains(t, said, "another spelling")
	class, words, checks := page.verify(t, path, good.Trust(t))
	require.Equal(t, "good", class, words)
	for _, s := range []string{"Each of 2 signatures over the records of 1 ceremony held by a script", "Each of 5 acknowledgements of duty", "The one line of the custody log"} {
		require.Contains(t, said, s)
		require.Contains(t, checks, s)
	}

	const run, line, ada = "rows/script_run/cer-held.json", "rows/custody/line-1.json", "rows/person/ada.json"
	signed := func(t *testing.T, r *records, person, kind string, payload any) jsontext.Value {
		return r.History.Signed(t, person, "application/vnd.conclave."+kind+"+json", payload)
	}
	terms := func(change func(x *people.Terms)) func(t *testing.T, r *records) {
		return func(t *testing.T, r *records) {
			x := people.NewTerms(r.Instance.ID, &r.person, nil, r.person.Acknowledgement.SignedAt)
			change(&x)
			r.person.Acknowledgement.Envelope = []byte(signed(t, r, "ada", "acknowledgement", x))
		}
	}
	// with is an acknowledgement that has a member which people.Terms can not hold.
	with := func(member string, value any) func(t *testing.T, r *records) {
		return func(t *testing.T, r *records) {
			raw, err := json.Marshal(people.NewTerms(r.Instance.ID, &r.person, nil, r.person.Acknowledgement.SignedAt))
			require.NoError(t, err)
			var x map[string]any
			require.NoError(t, json.Unmarshal(raw, &x))
			x[member] = value
			r.person.Acknowledgement.Envelope = []byte(signed(t, r, "ada", "acknowledgement", x))
		}
	}
	cases := map[string]struct {
		change func(t *testing.T, r *records)
		want   error
		file   string
	}{
		"outcome edited":     {func(_ *testing.T, r *records) { r.run["steps"] = []map[string]any{} }, bundle.ErrTranscript, run},
		"place edited":       {func(_ *testing.T, r *records) { r.run["place"] = "elsewhere" }, bundle.ErrTranscript, run},
		"deviation left out": {func(_ *testing.T, r *records) { r.run["deviations"] = []map[string]any{{"number": 1}} }, bundle.ErrTranscript, run},
		"words edited":       {func(_ *testing.T, r *records) { first(r.run, func(s map[string]any) { s["statement"] = "all well" }) }, bundle.ErrTranscript, run},
		"another's signature": {func(_ *testing.T, r *records) {
			first(r.run, func(s map[string]any) { s["envelope"] = signOffs(good.run)[1]["envelope"] })
		}, bundle.ErrTranscript, run},
		"another's role":      {func(_ *testing.T, r *records) { first(r.run, func(s map[string]any) { s["role"] = "witness" }) }, bundle.ErrTranscript, run},
		"who was not there":   {func(_ *testing.T, r *records) { first(r.run, func(s map[string]any) { s["person"] = "efua" }) }, bundle.ErrTranscript, run},
		"a signature missing": {func(_ *testing.T, r *records) { r.run["sign_offs"] = signOffs(r.run)[:1] }, bundle.ErrTranscript, run},
		"signed twice":        {func(_ *testing.T, r *records) { r.run["sign_offs"] = append(signOffs(r.run)[:1:1], signOffs(r.run)...) }, bundle.ErrTranscript, run},
		"script swapped": {func(_ *testing.T, r *records) {
			r.run["script"] = map[string]any{"id": "demo", "title": "Demo", "version": 2, "steps": []any{}}
		}, bundle.ErrTranscript, run},
		"no acknowledgement": {func(_ *testing.T, r *records) { r.person.Acknowledgement.Envelope = []byte("{}") }, bundle.ErrAcknowledgement, ada},
		"longer than signed": {func(_ *testing.T, r *records) {
			r.person.Acknowledgement.ExpiresAt = r.person.Acknowledgement.ExpiresAt.Add(24 * time.Hour)
		}, bundle.ErrAcknowledgement, ada},
		"another form":     {terms(func(x *people.Terms) { x.FormVersion = "0" }), bundle.ErrAcknowledgement, ada},
		"another text":     {terms(func(x *people.Terms) { x.FormSHA256 = strings.Repeat("0", 64) }), bundle.ErrAcknowledgement, ada},
		"of elsewhere":     {terms(func(x *people.Terms) { x.Instance = strings.Repeat("0", 64) }), bundle.ErrAcknowledgement, ada},
		"with a proviso":   {with("proviso", "under protest"), bundle.ErrAcknowledgement, ada},
		"roles not a list": {with("roles", "custodian"), bundle.ErrAcknowledgement, ada},
		"instance a count": {with("instance", 0), bundle.ErrAcknowledgement, ada},
		"of somebody else": {terms(func(x *people.Terms) { x.Person = "boris" }), bundle.ErrAcknowledgement, ada},
		"signed by another": {func(t *testing.T, r *records) {
			r.person.Acknowledgement.Envelope = good.History.People[1].Acknowledgement.Envelope
		}, bundle.ErrAcknowledgement, ada},
		"for ever":    {terms(func(x *people.Terms) { x.EffectiveAt = "2020-01-01T00:00:00Z" }), bundle.ErrAcknowledgement, ada},
		"line edited": {func(_ *testing.T, r *records) { r.line.Facts.Site = "south" }, bundle.ErrCustody, line},
		"line and digest": {func(t *testing.T, r *records) {
			r.line.Facts.Site = "south"
			r.line.Digest = factsDigest(t, r.line.Facts)
		}, bundle.ErrCustody, line},
		"line never signed":   {func(_ *testing.T, r *records) { r.line.Signed = "" }, bundle.ErrCustody, line},
		"dispute hidden":      {func(t *testing.T, r *records) { r.line.State = people.EntryDisputed }, bundle.ErrCustody, line},
		"remark put in mouth": {func(t *testing.T, r *records) { r.line.Remark = "saw it" }, bundle.ErrCustody, line},
		"witnessed by none":   {func(t *testing.T, r *records) { r.line.Signed = "cer-nowhere" }, bundle.ErrCustody, line},
		"wrong ceremony":      {func(t *testing.T, r *records) { r.line.Signed = "cer-rec" }, bundle.ErrCustody, line},
		"witness is who did it": {func(t *testing.T, r *records) {
			r.countersi = r.custody(t, "cer-sig", "custody.countersign", "ada", map[string]any{"entry": "line-1", "digest": r.line.Digest, "agree": true})
		}, bundle.ErrCustody, line},
		"request of another": {func(t *testing.T, r *records) { r.record["proposal"] = r.countersi["proposal"] }, bundle.ErrTranscript, "rows/ceremony/cer-rec.json"},
		"request unsigned":   {func(t *testing.T, r *records) { delete(r.record, "proposal") }, bundle.ErrTranscript, "rows/ceremony/cer-rec.json"},
		"parameters edited": {func(t *testing.T, r *records) {
			r.record["params"] = map[string]any{"form": "card-1", "action": "seal", "witness": "dana", "purpose": "to the <safe>", "new_serial": "BAG-0001", "site": "south", "container": "safe 1"}
			r.line.Facts.Site = "south"
			r.line.Digest = factsDigest(t, r.line.Facts)
		}, bundle.ErrCustody, line},
	}
	for name, c := range cases {
		r := good.fresh()
		c.change(t, r)
		r.put(t)
		path := write(t, r.World, r.Node)
		_, err := bundle.Verify(t.Context(), path, r.Trust(t))
		require.Error(t, err, name)
		requireFault(t, err, c.want, c.file)
		requireAgree(t, name, page, path, r.Trust(t), err)
	}
	good.put(t)
	_, err = bundle.Verify(t.Context(), write(t, good.World, good.Node), good.Trust(t))
	require.NoError(t, err)
}

// A run that was given up after some had signed, and people who left since, do not undo what was signed.
func TestSignOffsOutlastWhatComesAfterThem(t *testing.T) {
	t.Parallel()
	r := newRecords(t)
	roll := r.run["roll"].([]map[string]any)
	roll[0]["left_at"] = fixture.Now()
	r.run["sign_offs"], r.run["state"] = signOffs(r.run)[:1], "abandoned"
	r.run["end_reason"], r.run["abandoned_by"] = "nobody came back", []string{"ada", "boris"}
	r.put(t)
	res, err := bundle.Verify(t.Context(), write(t, r.World, r.Node), r.Trust(t))
	require.NoError(t, err)
	require.Equal(t, 1, res.SignOffs)
}
