package control_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/reports/control"
)

func TestBatchesCountItemByItem(t *testing.T) {
	ev := control.NewEvents(nil)
	ev.Observe(&ledger.Entry{Type: "key.use.decrypt", Seq: 7, Outcome: ledger.Allow, Target: ledger.Target{Type: "key"},
		Detail: []byte(`{"count":4,"items":[{"k":0,"v":1},{"k":0,"v":2},{"k":1,"o":"deny","r":"grant_missing","v":1},{"k":0,"v":1}],"keys":["cards","mail"]}`)})
	ev.Observe(&ledger.Entry{Type: "key.use.datakey", Seq: 8, Outcome: ledger.Allow, Target: ledger.Target{Type: "key", ID: "cards", Version: 2},
		Detail: []byte(`{"count":2,"items":[{},{}]}`)})
	ev.Observe(&ledger.Entry{Type: "key.use.datakey", Seq: 9, Outcome: ledger.Allow, Target: ledger.Target{Type: "key", ID: "cards", Version: 2}})
	one := ev.UseOf(key.Version{Key: "cards", Version: 1})
	require.Equal(t, 2, one.Processes)
	two := ev.UseOf(key.Version{Key: "cards", Version: 2})
	require.Equal(t, 1, two.Processes)
	require.Equal(t, 3, two.Protects)
	require.Equal(t, 1, ev.UseOf(key.Version{Key: "mail", Version: 1}).Denied)
}

// A batch on record by its digest only, of several keys, cannot be counted: it is said, never passed over.
func TestUnreadableBatchesAreCounted(t *testing.T) {
	ev := control.NewEvents(nil)
	digest := []byte(`{"bytes":20000,"digest":"sha256:00"}`)
	ev.Observe(&ledger.Entry{Type: "key.use.encrypt", Seq: 7, Outcome: ledger.Allow, Target: ledger.Target{Type: "key"}, Detail: digest})
	ev.Observe(&ledger.Entry{Type: "key.use.decrypt", Seq: 8, Outcome: ledger.Allow, Target: ledger.Target{Type: "key"}, Detail: digest})
	ev.Observe(&ledger.Entry{Type: "key.use.encrypt", Seq: 9, Outcome: ledger.Allow, Target: ledger.Target{Type: "key", ID: "cards", Version: 2}, Detail: digest})
	require.Equal(t, 1, ev.UnreadBatches())
	require.Equal(t, 1, ev.UseOf(key.Version{Key: "cards", Version: 2}).Protects)

	table := control.NewTable("t", control.Column{Name: "c"})
	table.Add(control.OK, nil, control.Proof{}, "x")
	r := control.Conclude(control.Finding{Tables: []*control.Table{table}, Good: "good", Unread: ev.UnreadBatches()})
	require.Equal(t, control.NeedsHuman, r.Verdict)
	require.Contains(t, r.Question, "digest of their list only: 1.")
}
