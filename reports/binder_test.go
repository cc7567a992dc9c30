package reports_test

import (
	"iter"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

// scripted is a source in which the first ceremony was held by a script, and rows may read otherwise.
type scripted struct {
	reports.Source
	ceremony string
	reads    func(string) string
}

func (s scripted) Rows(kind string) iter.Seq2[control.Ref, []byte] {
	return func(yield func(control.Ref, []byte) bool) {
		if kind == "script_run" {
			yield(control.Ref{Kind: kind, ID: s.ceremony}, []byte(`{"ceremony":"`+s.ceremony+`","place":"room 12","state":"signed","script_sha256":"abcd",
				"script":{"id":"key-make","title":"Making a key","version":3,"steps":[{"phase":"open","text":"Count who is there","expected":"four"},{"phase":"close","text":"Seal the bag","expected":"sealed"}]},
				"roll":[{"person":"ada","name":"Ada","role":"witness","site":"north","arrived_at":"2026-01-02T03:04:05Z","document":"passport","checked_by":"dana"}],
				"steps":[{"number":1,"actual":"three","as_expected":false,"at":"2026-01-02T03:04:05Z","by":"dana","initials":"ada"}],
				"deviations":[{"number":1,"step":1,"what":"one was late","why":"a train","decided_by":"dana","impact":"none","at":"2026-01-02T03:04:05Z"}],
				"sign_offs":[{"person":"ada","role":"witness","statement":"as it was","at":"2026-01-02T03:04:05Z","envelope":{}}]}`))
			return
		}
		for ref, body := range s.Source.Rows(kind) {
			if kind == "ceremony" && s.reads != nil {
				body = []byte(s.reads(string(body)))
			}
			if !yield(ref, body) {
				return
			}
		}
	}
}

func paperOf(p *reports.Part, title string) *control.Table {
	for i := range p.Tables {
		if strings.HasPrefix(p.Tables[i].Title, title) {
			return &p.Tables[i]
		}
	}
	return nil
}

func TestBinderHoldsTheTranscriptOfEachCeremony(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	src := w.Source(t)
	var of *reports.Part
	binder := registerOf(t, src, reports.RegisterCeremonies)
	for i := range binder.Parts {
		if who := paperOf(&binder.Parts[i], "Who signed"); who != nil && paperOf(&binder.Parts[i], "The statement that they signed") != nil && of == nil {
			of = &binder.Parts[i]
		}
	}
	require.NotNil(t, of, "a ceremony that people signed")
	id, _, _ := strings.Cut(of.Title, ":")
	for _, row := range paperOf(of, "Who signed").Rows {
		if strings.HasPrefix(row.Cells[1], "brought share") { // a share travels under its holder's approval
			continue
		}
		require.Len(t, row.Cells[4], 64, "the digest of what was signed")
		require.Equal(t, "verified", row.Cells[5])
		require.Equal(t, control.Info, row.State)
	}
	said := map[string]string{}
	for _, row := range paperOf(of, "The statement").Rows {
		said[row.Cells[0]] = row.Cells[1]
	}
	require.Equal(t, id, said["ceremony"])
	require.Equal(t, w.Instance.ID, said["instance"])
	require.Equal(t, `{"id":"`+id+`"}`, said["params"])
	require.NotContains(t, said, "signer", "what differs stands beside each signature")
	require.Contains(t, paperOf(of, "What policy demanded").Rows[0].Cells[1], "2")
	require.NotEmpty(t, paperOf(of, "What came of it").Rows[0].Ledger)
	require.Nil(t, paperOf(of, "The script"))

	held := registerOf(t, scripted{Source: src, ceremony: id}, reports.RegisterCeremonies)
	for i := range held.Parts {
		if strings.HasPrefix(held.Parts[i].Title, id+":") {
			of = &held.Parts[i]
		}
	}
	require.Equal(t, "room 12", strings.TrimPrefix(paperOf(of, "Who was there").Title, "Who was there: "))
	steps := paperOf(of, "The script as it was performed: Making a key, version 3").Rows
	require.Equal(t, "not as expected: three", steps[0].Cells[4])
	require.Equal(t, "not done", steps[1].Cells[4])
	require.Equal(t, "open", paperOf(of, "Deviations").Rows[0].Cells[6])
	require.Equal(t, "not readable", paperOf(of, "Who signed the record").Rows[0].Cells[6])

	called := registerOf(t, scripted{Source: src, ceremony: id, reads: func(body string) string {
		return regexp.MustCompile(`"requester":\{"id":"([a-z]+)","kind":"human"`).ReplaceAllString(body, `"requester":{"called_by":"$1","id":"node-1","kind":"node"`)
	}}, reports.RegisterCeremonies)
	have := cellsOf(called)
	require.True(t, have["verified"])
	require.False(t, have["by no key on record"], "for a node's ceremony whoever called for it has signed")

	forged := registerOf(t, scripted{Source: src, ceremony: id, reads: func(body string) string {
		return strings.NewReplacer(`"person":"`, `"person":"x`, `"requester":{"id":"`, `"requester":{"id":"x`).Replace(body) // who approved, and who asked
	}}, reports.RegisterCeremonies)
	have = cellsOf(forged)
	require.True(t, have["by no key on record"])
	require.False(t, have["verified"], "a signature counts for nobody else")
}
