package operation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/key"
)

// The log key's cryptoperiod is a year, or what those decided who put it in force; people are told ahead, and as long as it
// is overdue; so they are where a node had it that was revoked.
func TestLogKeysEndIsAnAlert(t *testing.T) {
	r := newRig(t)
	began := r.Clock.Now()
	alert := func() []operation.Alert { return operation.LogKeyAlerts(r.View(), began, r.Clock.Now()) }
	told := func(days int, why string) {
		t.Helper()
		got := alert()
		require.Len(t, got, 1)
		require.Equal(t, operation.AlertLogKey, got[0].Kind)
		require.Equal(t, days, got[0].Days)
		require.Contains(t, got[0].Message, why)
	}
	require.Empty(t, alert())
	r.Clock.Advance(335 * key.Day)
	told(30, "is to be replaced by")
	r.Clock.Advance(23 * key.Day)
	told(7, "is to be replaced by")
	r.Clock.Advance(7*key.Day + time.Hour)
	told(0, "longer than 365 days")

	r.Put(t, custodian.KindLogKey, custodian.LogKeyRow, custodian.LogKey{Key: "new", Previous: "old", Since: r.Clock.Now(), Days: 90, Cause: custodian.LogKeyScheduled})
	require.Empty(t, alert())
	r.Clock.Advance(60 * key.Day)
	told(30, "within 30 days")
	at := r.Clock.Now()
	r.Put(t, custodian.KindNode, "node-9", custodian.Node{ID: "node-9", RevokedAt: &at, RevokedReason: "its disk was copied"})
	told(0, "node node-9 had it and was revoked")
	r.Clock.Advance(31 * key.Day)
	require.Len(t, alert(), 2, "each reason")

	// Who decides on a cryptoperiod is held to what the standard allows, and sees it.
	for _, days := range []int{-1, custodian.MostLogKeyDays + 1} {
		_, err := r.prepare(t, "logkey.rotate", r.input(t, human("demo-ada"), map[string]any{"cause": "scheduled", "days": days, "reason": "yearly"}))
		require.Equal(t, "days", fieldOf(t, err))
	}
	for days, says := range map[int]string{0: "365 days", 700: "700 days"} {
		plan, err := r.prepare(t, "logkey.rotate", r.input(t, human("demo-ada"), map[string]any{"cause": "scheduled", "days": days, "reason": "yearly"}))
		require.NoError(t, err)
		lines := map[string]string{}
		for _, line := range plan.Lines {
			lines[line.Label] = line.After
		}
		require.Equal(t, says, lines["to be replaced after"])
	}
}
