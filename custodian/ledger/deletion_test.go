package ledger_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

// deletionEntry is the entry that records the deletion of from ≤ seq < to, unchained and without a place.
func deletionEntry(t testing.TB, from, to uint64) ledger.Entry {
	e := dataEntry(t)
	e.Type, e.Outcome, e.Ceremony = ledger.DeletionType, ledger.Done, fmt.Sprintf("01DEL%d", from)
	e.Target = ledger.Target{Type: ledger.SegmentTarget, ID: fmt.Sprintf("seg-%d", from)}
	e.Detail = fmt.Appendf(nil, `{"bytes":12345,"from":%d,"to":%d}`, from, to)
	e.Link = &ledger.Link{Number: 1}
	return e
}

func TestReadDeletion(t *testing.T) {
	good := deletionEntry(t, 256, 768)
	good.Seq = 768
	d, is, err := ledger.ReadDeletion(&good)
	require.NoError(t, err)
	require.True(t, is)
	require.Equal(t, ledger.Deletion{Seq: 768, Segment: "seg-256", Ceremony: "01DEL256", From: 256, To: 768}, d)

	for name, spoil := range map[string]func(e *ledger.Entry){
		"another type":     func(e *ledger.Entry) { e.Type = "ledger.archive" },
		"denied":           func(e *ledger.Entry) { e.Outcome = ledger.Deny },
		"failed":           func(e *ledger.Entry) { e.Outcome = ledger.Failed },
		"no control entry": func(e *ledger.Entry) { e.Link = nil },
	} {
		e := good
		spoil(&e)
		_, is, err := ledger.ReadDeletion(&e)
		require.NoError(t, err, name)
		require.False(t, is, name)
	}
	for name, spoil := range map[string]func(e *ledger.Entry){
		"no range":          func(e *ledger.Entry) { e.Detail = nil },
		"no end":            func(e *ledger.Entry) { e.Detail = []byte(`{"from":256}`) },
		"digest in place":   func(e *ledger.Entry) { e.Detail = []byte(`{"bytes":99999,"digest":"sha256:00"}`) },
		"range of text":     func(e *ledger.Entry) { e.Detail = []byte(`{"from":"256","to":"512"}`) },
		"reversed":          func(e *ledger.Entry) { e.Detail = []byte(`{"from":512,"to":256}`) },
		"part of a group":   func(e *ledger.Entry) { e.Detail = []byte(`{"from":256,"to":513}`) },
		"begins in a group": func(e *ledger.Entry) { e.Detail = []byte(`{"from":255,"to":512}`) },
		"what comes after":  func(e *ledger.Entry) { e.Seq = 767 },
		"another target":    func(e *ledger.Entry) { e.Target.Type = "key" },
		"no segment":        func(e *ledger.Entry) { e.Target.ID = "" },
		"no ceremony":       func(e *ledger.Entry) { e.Ceremony = "" },
	} {
		e := good
		spoil(&e)
		_, is, err := ledger.ReadDeletion(&e)
		require.True(t, is, name)
		require.Error(t, err, name)
	}
}

func TestDeletedErrorSaysWhichAndByWhat(t *testing.T) {
	err := &ledger.DeletedError{From: 256, To: 768, By: "01ABC"}
	require.EqualError(t, err, "ledger entries 256 to 767 were deleted under retention by ceremony 01ABC")
	require.EqualError(t, &ledger.DeletedError{From: 0, To: 256}, "ledger entries 0 to 255 were deleted under retention")
}
