package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pending is the entry of the custody log that awaits its second signature.
func (x *terminal) pending() string {
	x.t.Helper()
	ada, err := x.n.as("ada")
	require.NoError(x.t, err)
	log, err := ada.api.CustodyLog(x.t.Context())
	require.NoError(x.t, err)
	for _, e := range log {
		if e.State == "pending" {
			return e.ID
		}
	}
	require.Fail(x.t, "no entry awaits its second signature")
	return ""
}

// TestCustodyRegisterByCommands takes the card of a share from its first bag to another site and to its end.
func TestCustodyRegisterByCommands(t *testing.T) {
	t.Parallel()
	x := &terminal{t: t, n: atWork(t), dir: t.TempDir()}
	holder, witness := x.as("ada"), x.as("wendy")
	step := func(args ...string) {
		t.Helper()
		holder.done(append(append([]string{"custody"}, args...), "--witness", "wendy", "--purpose", "the test of the register")...)
		witness.done("custody", "countersign", holder.pending())
	}
	seen := func(words ...string) {
		t.Helper()
		list := holder.done("custody", "list")
		for _, w := range words {
			require.Contains(t, list, w)
		}
	}
	first := []string{"custody", "register", "card-1", "--kind", "paper", "--site", "north", "--container", "safe 2", "--witness", "wendy", "--purpose", "first"}
	holder.fails(2, "purpose", "custody", "register", "card-1", "--kind", "paper", "--witness", "wendy")
	// Which share it is of follows from who registers it.
	holder.done(append(first, "--new-serial", "AB-1001")...)
	seen("unwitnessed", vault)
	entry := holder.pending()
	x.as("ben").fails(1, "not_owner", "custody", "countersign", entry)
	holder.fails(1, "not_owner", "custody", "countersign", entry)
	witness.done("custody", "countersign", entry)
	witness.fails(1, "entry_ended", "custody", "countersign", entry)
	seen("sealed", "AB-1001")

	again := append([]string{}, first...)
	again[2] = "card-2"
	holder.fails(1, "was used before", append(again, "--new-serial", "AB-1001")...)

	need := x.as("cleo").propose("share", "rehearse", "vault-shares", "--reason", "yearly rehearsal").Ceremony.ID
	step("check", "card-1", "--serial", "AB-1001", "--seal", "intact")
	step("send", "card-1", "--serial", "AB-1001", "--seal", "intact", "--site", "south")
	seen("in-transit")
	holder.fails(1, "form_state", "custody", "open", "card-1", "--ceremony", need, "--serial", "AB-1001", "--seal", "intact", "--witness", "wendy", "--purpose", "on the way")
	step("receive", "card-1", "--serial", "AB-1001", "--seal", "intact", "--site", "south", "--container", "box 1")
	seen("received", "south", "box 1")
	step("open", "card-1", "--serial", "AB-1001", "--seal", "intact", "--ceremony", need)
	seen("open")
	step("seal", "card-1", "--new-serial", "AB-1002", "--site", "south", "--container", "box 1")
	seen("sealed", "AB-1002")

	// Another serial than the register's is a suspicion, once the witness saw it too.
	step("check", "card-1", "--serial", "AB-9999", "--seal", "intact")
	seen("compromised")
	log := holder.done("custody", "log")
	require.Contains(t, log, "read AB-9999")
	require.Less(t, strings.Index(log, "register"), strings.Index(log, "send"), "oldest first")
	require.Less(t, strings.Index(log, "send"), strings.Index(log, "receive"))
	require.Contains(t, x.as("audrey").done("finding", "list"), "AB-9999")
	step("destroy", "card-1")
	seen("destroyed")

	evidence := x.path("custody.zip")
	x.as("audrey").done("report", "--framework", "pci-dss-4.0.1", "--from", time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), "--format", "bundle", "-o", evidence)
	require.Contains(t, x.done("verify", evidence), "Each of 8 lines of the custody log is signed by who did it, and 8 that count")
}
