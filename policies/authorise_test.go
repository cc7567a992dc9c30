package policies_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/policies"
)

func TestAuthoriseAllows(t *testing.T) {
	e := engine(t)
	for _, operation := range []string{"datakey", "encrypt", "decrypt", "rewrap"} {
		in := call(operation)
		d, err := e.Authorise(context.Background(), in)
		require.NoError(t, err, operation)
		require.Empty(t, d.Reasons, operation)
		require.True(t, d.Allow, operation)
		// The token is the first to end.
		require.True(t, d.ValidUntil.Equal(now().Add(5*time.Minute)), "%s: %s", operation, d.ValidUntil)
		require.True(t, d.Holds(in.Now, in.PayloadBytes))
		require.False(t, d.Holds(in.Now, d.MaxPayload+1))
		require.False(t, d.Holds(in.Now.Add(-time.Second), 1))
		require.False(t, d.Holds(d.ValidUntil, 1))
		require.Equal(t, e.Digest(), d.PolicyDigest)
		require.Contains(t, d.Reads, "context")
	}
}

func TestAuthoriseReads(t *testing.T) {
	e := engine(t)
	auditor := policies.Principal{Kind: "auditor", ID: "eve", Status: "active", CredentialExpiresAt: now().Add(time.Hour)}
	witness := policies.Principal{Kind: "human", ID: "wim", Status: "active", Roles: []string{"witness"}}
	for _, c := range []struct {
		operation string
		principal policies.Principal
		want      []string
	}{
		{"ledger.read", auditor, []string{}},
		{"ledger.read", witness, []string{"role_missing"}},
		{"ceremony.attend", witness, []string{}},
		{"ceremony.decide", auditor, []string{"caller_kind_forbidden"}},
		{"keystore.read", witness, []string{}},
		{"key.steal", auditor, []string{"caller_kind_forbidden", "operation_unknown"}},
	} {
		d, err := e.Authorise(context.Background(), policies.AuthoriseInput{
			Now: now(), Mode: policies.Production, Operation: c.operation, Principal: c.principal,
		})
		require.NoError(t, err)
		require.Equal(t, c.want, codes(d.Reasons), "%s by %s", c.operation, c.principal.Kind)
		require.Equal(t, len(c.want) == 0, d.Allow)
	}
}

// State table 1 of the key states reference, protect and process columns, note (a) included.
func TestAuthoriseStateTable(t *testing.T) {
	e := engine(t)
	for _, c := range []struct {
		state            string
		protect, process bool
	}{
		{"pre-activation", false, false},
		{"active", true, true},
		{"suspended", false, true},
		{"deactivated", false, true},
		{"compromised", false, false},
		{"destroyed", false, false},
		{"", false, false},
		{"ACTIVE", false, false},
	} {
		for operation, want := range map[string]bool{
			"datakey": c.protect, "encrypt": c.protect, "decrypt": c.process, "rewrap": c.process,
		} {
			in := call(operation)
			in.Version.State = c.state
			in.Version.SuspendedAt, in.AcceptRisk, in.ReasonCode = now().AddDate(0, 0, -1), true, "recovery"
			d, err := e.Authorise(context.Background(), in)
			require.NoError(t, err)
			require.Equal(t, want, d.Allow, "%s in state %q: %v", operation, c.state, codes(d.Reasons))
		}
	}
}

func TestAuthoriseSuspended(t *testing.T) {
	e := engine(t)
	suspended := now().AddDate(0, 0, -1)
	for name, c := range map[string]struct {
		change func(*policies.AuthoriseInput)
		want   []string
	}{
		"before, accepted, justified": {func(*policies.AuthoriseInput) {}, []string{}},
		"protected meanwhile":         {func(in *policies.AuthoriseInput) { in.ProtectedAt = suspended }, []string{"protected_during_suspension"}},
		"unknown date":                {func(in *policies.AuthoriseInput) { in.ProtectedAt = time.Time{} }, []string{"protected_during_suspension"}},
		"not accepted":                {func(in *policies.AuthoriseInput) { in.AcceptRisk = false }, []string{"risk_not_accepted"}},
		"no reason":                   {func(in *policies.AuthoriseInput) { in.ReasonCode = "" }, []string{"reason_required"}},
		"suspected":                   {func(in *policies.AuthoriseInput) { in.Version.Suspected = true }, []string{"suspected_compromise"}},
	} {
		in := call("decrypt")
		in.Version.State, in.Version.SuspendedAt = "suspended", suspended
		in.AcceptRisk, in.ReasonCode = true, "recovery"
		c.change(&in)
		d, err := e.Authorise(context.Background(), in)
		require.NoError(t, err)
		require.Equal(t, c.want, codes(d.Reasons), name)
	}
}

// Whatever is taken away from an allowed call, it is no longer allowed: nothing is allowed by absence.
func TestInvariant11_AuthoriseFailsClosedOnMissingFacts(t *testing.T) {
	e := engine(t)
	for _, operation := range []string{"datakey", "encrypt", "decrypt", "rewrap"} {
		for name, remove := range map[string]func(*policies.AuthoriseInput){
			"principal":      func(in *policies.AuthoriseInput) { in.Principal = policies.Principal{} },
			"kind":           func(in *policies.AuthoriseInput) { in.Principal.Kind = "" },
			"status":         func(in *policies.AuthoriseInput) { in.Principal.Status = "" },
			"environment":    func(in *policies.AuthoriseInput) { in.Principal.Environment = "" },
			"expiry":         func(in *policies.AuthoriseInput) { in.Principal.CredentialExpiresAt = time.Time{} },
			"key":            func(in *policies.AuthoriseInput) { in.Key = nil },
			"classification": func(in *policies.AuthoriseInput) { in.Key.Classification = "" },
			"key type":       func(in *policies.AuthoriseInput) { in.Key.Type = "" },
			"key env":        func(in *policies.AuthoriseInput) { in.Key.Environment = "" },
			"version":        func(in *policies.AuthoriseInput) { in.Version, in.Onto = nil, nil },
			"state": func(in *policies.AuthoriseInput) {
				in.Version.State = ""
				if in.Onto != nil {
					in.Onto.State = ""
				}
			},
			"activation":     func(in *policies.AuthoriseInput) { in.Version.ActivationAt = time.Time{} },
			"keystore":       func(in *policies.AuthoriseInput) { in.Keystore = nil },
			"keystore env":   func(in *policies.AuthoriseInput) { in.Keystore.Environment = "" },
			"grant":          func(in *policies.AuthoriseInput) { in.Grant = nil },
			"grant id":       func(in *policies.AuthoriseInput) { in.Grant.ID = "" },
			"grant expiry":   func(in *policies.AuthoriseInput) { in.Grant.ExpiresAt = time.Time{} },
			"grant ops":      func(in *policies.AuthoriseInput) { in.Grant.Operations = nil },
			"context":        func(in *policies.AuthoriseInput) { in.Context = nil },
			"payload":        func(in *policies.AuthoriseInput) { in.PayloadBytes = -1 },
			"rup, oup":       func(in *policies.AuthoriseInput) { in.Version.OUPEnd, in.Version.RUPEnd = time.Time{}, time.Time{} },
			"operation case": func(in *policies.AuthoriseInput) { in.Operation = "Datakey" },
		} {
			in := call(operation)
			remove(&in)
			d, err := e.Authorise(context.Background(), in)
			if err == nil {
				require.False(t, d.Allow, "%s without %s", operation, name)
				require.NotEmpty(t, d.Reasons)
			}
		}
	}
}

func TestAuthoriseRefusesMalformedInput(t *testing.T) {
	e := engine(t)
	for _, change := range []func(*policies.AuthoriseInput){
		func(in *policies.AuthoriseInput) { in.Now = time.Time{} },
		func(in *policies.AuthoriseInput) { in.Mode = "staging" },
		func(in *policies.AuthoriseInput) { in.Mode = "" },
		func(in *policies.AuthoriseInput) { in.Operation = "" },
	} {
		in := call("datakey")
		change(&in)
		_, err := e.Authorise(context.Background(), in)
		require.ErrorIs(t, err, policies.ErrInput)
	}
}

// A memoised allow is what a fresh decision would be, at every moment and payload for which it holds, for
// every input with the same memo key.
func TestInvariant11_MemoisedAllowHolds(t *testing.T) {
	e := engine(t)
	rapid.Check(t, func(rt *rapid.T) {
		in := call(rapid.SampledFrom([]string{"datakey", "encrypt", "decrypt", "rewrap"}).Draw(rt, "operation"))
		hours := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(-2, 200).Draw(rt, name)) * time.Second
		}
		in.Version.OUPEnd, in.Version.RUPEnd = now().Add(hours("oup")), now().Add(hours("rup"))
		in.Grant.ExpiresAt = now().Add(hours("grant"))
		in.Version.State = rapid.SampledFrom([]string{"active", "active", "suspended", "deactivated"}).Draw(rt, "state")
		in.Version.SuspendedAt, in.AcceptRisk, in.ReasonCode = now(), true, "routine"
		d, err := e.Authorise(context.Background(), in)
		require.NoError(rt, err)
		if !d.Allow {
			return
		}
		again := in
		again.Now = now().Add(time.Duration(rapid.Int64Range(0, int64(d.ValidUntil.Sub(now()))-1).Draw(rt, "later")))
		again.PayloadBytes = rapid.IntRange(0, d.MaxPayload).Draw(rt, "payload")
		again.Context = map[string]string{"tenant": "north", "file": rapid.String().Draw(rt, "file")}
		if in.Version.State != "suspended" {
			again.ProtectedAt = now().Add(hours("protected"))
			again.AcceptRisk = false
		}
		require.Equal(rt, e.AppendMemoKey(nil, &in), e.AppendMemoKey(nil, &again))
		require.True(rt, d.Holds(again.Now, again.PayloadBytes))
		fresh, err := e.Authorise(context.Background(), again)
		require.NoError(rt, err)
		require.True(rt, fresh.Allow, "%v", codes(fresh.Reasons))
	})
}

// Inputs that differ in what rules are shown have different memo keys.
func TestMemoKeyTellsInputsApart(t *testing.T) {
	e := engine(t)
	seen := map[string]string{}
	for name, change := range map[string]func(*policies.AuthoriseInput){
		"same":             func(*policies.AuthoriseInput) {},
		"principal":        func(in *policies.AuthoriseInput) { in.Principal.ID = "other" },
		"environment":      func(in *policies.AuthoriseInput) { in.Principal.Environment = "test" },
		"expiry":           func(in *policies.AuthoriseInput) { in.Principal.CredentialExpiresAt = now() },
		"revoked":          func(in *policies.AuthoriseInput) { in.Principal.CredentialRevoked = true },
		"mode":             func(in *policies.AuthoriseInput) { in.Mode = policies.Development },
		"key":              func(in *policies.AuthoriseInput) { in.Key.ID = "other" },
		"classification":   func(in *policies.AuthoriseInput) { in.Key.Classification = "public" },
		"version":          func(in *policies.AuthoriseInput) { in.Version.Number = 4 },
		"state":            func(in *policies.AuthoriseInput) { in.Version.State = "suspended" },
		"state, accepted":  func(in *policies.AuthoriseInput) { in.Version.State, in.AcceptRisk = "suspended", true },
		"state, date":      func(in *policies.AuthoriseInput) { in.Version.State, in.ProtectedAt = "suspended", now() },
		"keystore":         func(in *policies.AuthoriseInput) { in.Keystore.Active = false },
		"no keystore":      func(in *policies.AuthoriseInput) { in.Keystore = nil },
		"grant":            func(in *policies.AuthoriseInput) { in.Grant.ID = "g2" },
		"grant operations": func(in *policies.AuthoriseInput) { in.Grant.Operations = []string{"decrypt"} },
		"grant context":    func(in *policies.AuthoriseInput) { in.Grant.Context = map[string]string{"file": "a"} },
		"context":          func(in *policies.AuthoriseInput) { in.Context["tenant"] = "south" },
		"onto":             func(in *policies.AuthoriseInput) { in.Onto = in.Version },
		"reason":           func(in *policies.AuthoriseInput) { in.ReasonCode = "routine" },
		"operation":        func(in *policies.AuthoriseInput) { in.Operation = "encrypt" },
	} {
		in := call("decrypt")
		change(&in)
		key := fmt.Sprintf("%x", e.AppendMemoKey(nil, &in))
		require.Empty(t, seen[key], "%s has the memo key of %s", name, seen[key])
		seen[key] = name
	}
}

func BenchmarkAuthorise(b *testing.B) {
	e := engine(b)
	in := call("datakey")
	b.ReportAllocs()
	for b.Loop() {
		if d, err := e.Authorise(context.Background(), in); err != nil || !d.Allow {
			b.Fatal(err, d)
		}
	}
}

func BenchmarkAppendMemoKey(b *testing.B) {
	e := engine(b)
	in := call("datakey")
	buffer := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buffer = e.AppendMemoKey(buffer[:0], &in)
	}
}
