package statement_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/custodian/people"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func example() statement.Statement {
	issued := time.Date(2026, 11, 23, 12, 0, 0, 123_000_000, time.UTC)
	return statement.Statement{
		Instance: strings.Repeat("ab", 32), Ceremony: "cer-01", Operation: "key.rotate",
		Params:     []byte(`{"key":"cards","reason":"cryptoperiod ends","n":9007199254740992}`),
		Target:     statement.Target{Type: "key", ID: "cards", GovRevision: 7},
		Policy:     "sha256:" + strings.Repeat("0", 64),
		Checkpoint: statement.Checkpoint{Size: 41, Root: [32]byte{1, 2, 3}},
		Requester:  "alice", Signer: "bob", Decision: statement.Approve,
		Nonce: "AAAAAAAAAAAAAAAAAAAAAA", IssuedAt: issued, ExpiresAt: issued.Add(time.Hour),
		Mode: statement.Production,
	}
}

// party makes a signer with its public credential, for both algorithms.
func party(t testing.TB, alg string) (dsse.Signer, people.Credential) {
	t.Helper()
	var key crypto.Signer
	if alg == "EdDSA" {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		key = private
	} else {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		key = private
	}
	signer, err := dsse.NewSigner(key)
	require.NoError(t, err)
	credential, err := dsse.NewCredential(key.Public(), time.Unix(0, 0))
	require.NoError(t, err)
	require.Equal(t, credential.ID, signer.KeyID())
	require.Equal(t, alg, credential.Alg)
	return signer, credential
}

// The exact bytes are part of the contract: docs/statement-format.md shows them.
func TestInvariant02_StatementBytes(t *testing.T) {
	raw, err := example().Marshal()
	require.NoError(t, err)
	require.Equal(t, `{"ceremony":"cer-01","checkpoint":{"root":"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","size":41},`+
		`"decision":"approve","expires_at":"2026-11-23T13:00:00.123Z","instance":"`+strings.Repeat("ab", 32)+`",`+
		`"issued_at":"2026-11-23T12:00:00.123Z","mode":"production","nonce":"AAAAAAAAAAAAAAAAAAAAAA",`+
		`"operation":"key.rotate","params":{"key":"cards","n":9007199254740992,"reason":"cryptoperiod ends"},`+
		`"policy":"sha256:`+strings.Repeat("0", 64)+`","requester":"alice","signer":"bob",`+
		`"target":{"gov_revision":7,"id":"cards","type":"key"},"v":1}`, string(raw))
	parsed, err := statement.Parse(raw)
	require.NoError(t, err)
	again, err := parsed.Marshal()
	require.NoError(t, err)
	require.Equal(t, raw, again)
}

// Whatever field changes, the signature no longer covers it.
func TestInvariant02_EveryFieldIsCovered(t *testing.T) {
	signer, credential := party(t, "EdDSA")
	original, err := example().Marshal()
	require.NoError(t, err)
	signature, err := signer.SignMessage(original)
	require.NoError(t, err)
	for name, change := range map[string]func(*statement.Statement){
		"instance":            func(s *statement.Statement) { s.Instance = "other" },
		"ceremony":            func(s *statement.Statement) { s.Ceremony = "cer-02" },
		"operation":           func(s *statement.Statement) { s.Operation = "key.destroy" },
		"params":              func(s *statement.Statement) { s.Params = []byte(`{"key":"cards2"}`) },
		"target.type":         func(s *statement.Statement) { s.Target.Type = "keystore" },
		"target.id":           func(s *statement.Statement) { s.Target.ID = "cards2" },
		"target.gov_revision": func(s *statement.Statement) { s.Target.GovRevision++ },
		"policy":              func(s *statement.Statement) { s.Policy = "p" },
		"checkpoint.size":     func(s *statement.Statement) { s.Checkpoint.Size++ },
		"checkpoint.root":     func(s *statement.Statement) { s.Checkpoint.Root[31] = 1 },
		"requester":           func(s *statement.Statement) { s.Requester = "eve" },
		"signer":              func(s *statement.Statement) { s.Signer = "eve" },
		"decision":            func(s *statement.Statement) { s.Decision = statement.Reject },
		"nonce":               func(s *statement.Statement) { s.Nonce = statement.NewNonce() },
		"issued_at":           func(s *statement.Statement) { s.IssuedAt = s.IssuedAt.Add(time.Millisecond) },
		"expires_at":          func(s *statement.Statement) { s.ExpiresAt = s.ExpiresAt.Add(time.Millisecond) },
		"mode":                func(s *statement.Statement) { s.Mode = statement.Development },
	} {
		t.Run(name, func(t *testing.T) {
			s := example()
			change(&s)
			raw, err := s.Marshal()
			require.NoError(t, err)
			require.ErrorIs(t, dsse.VerifyMessage(credential, raw, signature), dsse.ErrSignature)
		})
	}
}

func TestMarshalNamesTheBadField(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*statement.Statement)
		field  string
	}{
		"no instance":       {func(s *statement.Statement) { s.Instance = "" }, "instance"},
		"space":             {func(s *statement.Statement) { s.Ceremony = "a b" }, "ceremony"},
		"not ASCII":         {func(s *statement.Statement) { s.Signer = "bоb" }, "signer"},
		"long":              {func(s *statement.Statement) { s.Target.ID = strings.Repeat("a", 201) }, "target.id"},
		"unknown decision":  {func(s *statement.Statement) { s.Decision = "maybe" }, "decision"},
		"no decision":       {func(s *statement.Statement) { s.Decision = "" }, "decision"},
		"unknown mode":      {func(s *statement.Statement) { s.Mode = "test" }, "mode"},
		"short nonce":       {func(s *statement.Statement) { s.Nonce = "abc" }, "nonce"},
		"nonce alphabet":    {func(s *statement.Statement) { s.Nonce = strings.Repeat("+", 22) }, "nonce"},
		"no issue time":     {func(s *statement.Statement) { s.IssuedAt = time.Time{} }, "issued_at"},
		"expiry not after":  {func(s *statement.Statement) { s.ExpiresAt = s.IssuedAt }, "expires_at"},
		"expiry same milli": {func(s *statement.Statement) { s.ExpiresAt = s.IssuedAt.Add(time.Microsecond) }, "expires_at"},
		"params missing":    {func(s *statement.Statement) { s.Params = nil }, "params"},
		"params null":       {func(s *statement.Statement) { s.Params = []byte("null") }, "params"},
		"params array":      {func(s *statement.Statement) { s.Params = []byte("[]") }, "params"},
		"params float":      {func(s *statement.Statement) { s.Params = []byte(`{"a":1.5}`) }, "params"},
		"params bidi":       {func(s *statement.Statement) { s.Params = []byte(`{"a":"\u202e"}`) }, "params"},
		"revision too big":  {func(s *statement.Statement) { s.Target.GovRevision = 1<<53 + 1 }, "gov_revision"},
	} {
		t.Run(name, func(t *testing.T) {
			s := example()
			c.change(&s)
			_, err := s.Marshal()
			require.ErrorIs(t, err, statement.ErrField)
			require.ErrorContains(t, err, c.field)
		})
	}
}

func TestParseRefusesMissingAndForeignMembers(t *testing.T) {
	raw, err := example().Marshal()
	require.NoError(t, err)
	text := string(raw)
	for name, bad := range map[string]string{
		"unknown member":        strings.Replace(text, `"v":1}`, `"v":1,"w":1}`, 1),
		"unknown target member": strings.Replace(text, `"type":"key"}`, `"type":"key","x":1}`, 1),
		"missing decision":      strings.Replace(text, `"decision":"approve",`, ``, 1),
		"null decision":         strings.Replace(text, `"approve"`, `null`, 1),
		"missing revision":      strings.Replace(text, `"gov_revision":7,`, ``, 1),
		"null revision":         strings.Replace(text, `"gov_revision":7`, `"gov_revision":null`, 1),
		"negative revision":     strings.Replace(text, `"gov_revision":7`, `"gov_revision":-7`, 1),
		"missing size":          strings.Replace(text, `,"size":41`, ``, 1),
		"string size":           strings.Replace(text, `41`, `"41"`, 1),
		"short root":            strings.Replace(text, `AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=`, `AQID`, 1),
		"other version":         strings.Replace(text, `"v":1`, `"v":2`, 1),
		"other time form":       strings.Replace(text, `12:00:00.123Z`, `12:00:00Z`, 1),
		"time zone":             strings.Replace(text, `12:00:00.123Z`, `12:00:00.123+01:00`, 1),
		"space":                 strings.Replace(text, `,"v"`, `, "v"`, 1),
		"order":                 strings.Replace(strings.Replace(text, `,"v":1`, ``, 1), `{"ceremony"`, `{"v":1,"ceremony"`, 1),
		"escape":                strings.Replace(text, `approve`, `\u0061pprove`, 1),
		"trailing":              text + text,
		"empty":                 "",
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, text, bad)
			_, err := statement.Parse([]byte(bad))
			require.Error(t, err)
		})
	}
}

func TestValidAt(t *testing.T) {
	s := example()
	require.NoError(t, s.ValidAt(s.IssuedAt, 0))
	require.NoError(t, s.ValidAt(s.IssuedAt.Add(-5*time.Second), 5*time.Second))
	require.ErrorIs(t, s.ValidAt(s.IssuedAt.Add(-6*time.Second), 5*time.Second), statement.ErrNotYetValid)
	require.NoError(t, s.ValidAt(s.ExpiresAt.Add(-1), 0))
	require.ErrorIs(t, s.ValidAt(s.ExpiresAt, 0), statement.ErrExpired)
}

func TestStatementRoundTripProperty(t *testing.T) {
	name := rapid.StringMatching(`[!-~]{1,200}`)
	rapid.Check(t, func(t *rapid.T) {
		issued := time.UnixMilli(rapid.Int64Range(946684800000, 253402300700000).Draw(t, "issued")).UTC()
		s := statement.Statement{
			Instance: name.Draw(t, "instance"), Ceremony: name.Draw(t, "ceremony"), Operation: name.Draw(t, "operation"),
			Params: []byte(fmt.Sprintf(`{"n":%d}`, rapid.Int64Range(-1<<53, 1<<53).Draw(t, "n"))),
			Target: statement.Target{Type: name.Draw(t, "type"), ID: name.Draw(t, "id"), GovRevision: rapid.Uint64Range(0, 1<<53).Draw(t, "rev")},
			Policy: name.Draw(t, "policy"), Requester: name.Draw(t, "requester"), Signer: name.Draw(t, "signer"),
			Decision: rapid.SampledFrom([]statement.Decision{statement.Approve, statement.Reject, statement.Acknowledge, statement.Attend}).Draw(t, "decision"),
			Nonce:    statement.NewNonce(), IssuedAt: issued, ExpiresAt: issued.Add(time.Millisecond), Mode: statement.Development,
		}
		raw, err := s.Marshal()
		require.NoError(t, err)
		back, err := statement.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, s, back)
	})
}

func FuzzParseStatement(f *testing.F) {
	raw, err := example().Marshal()
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := statement.Parse(data)
		if err != nil {
			return
		}
		again, err := s.Marshal()
		require.NoError(t, err)
		require.Equal(t, data, again, "accepted bytes are exactly what Marshal makes")
	})
}
