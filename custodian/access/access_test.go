package access_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/hsm/secret"
)

var now = time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)

func mint(t *testing.T) (access.Token, string) {
	t.Helper()
	row, once, err := access.NewToken("application", "shop", "c1", now, time.Hour)
	require.NoError(t, err)
	require.Equal(t, secret.Redacted, fmt.Sprintf("%v", once))
	var clear string
	require.NoError(t, once.Use(func(b []byte) error { clear = string(b); return nil }))
	once.Wipe()
	return row, clear
}

func field(t *testing.T, err error) string {
	t.Helper()
	var e *key.FieldError
	require.True(t, errors.As(err, &e), "%v", err)
	require.NotEmpty(t, e.Problem)
	require.NotEmpty(t, e.Allowed)
	return e.Field
}

func TestToken(t *testing.T) {
	row, clear := mint(t)
	require.Regexp(t, `^cvt_[a-z2-7]{16}\.[A-Za-z0-9_-]{43}$`, clear)
	body, err := json.Marshal(row)
	require.NoError(t, err)
	require.NotContains(t, string(body), clear[21:], "the row keeps no secret")

	p, err := access.ParseToken(clear)
	require.NoError(t, err)
	require.Equal(t, row.ID, p.ID)
	require.NotContains(t, fmt.Sprintf("%+v", p), clear[21:])
	require.NoError(t, access.Verify(&row, p, now))
	require.NoError(t, access.Verify(&row, p, now.Add(time.Hour-time.Microsecond)))
	require.ErrorIs(t, access.Verify(&row, p, now.Add(time.Hour)), access.ErrTokenExpired)
	require.ErrorIs(t, access.Verify(&row, p, now.Add(-time.Second)), access.ErrTokenNotYet)

	other, otherClear := mint(t)
	foreign, err := access.ParseToken(otherClear)
	require.NoError(t, err)
	require.ErrorIs(t, access.Verify(&row, foreign, now), access.ErrTokenSecret)
	mixed, err := access.ParseToken(clear[:21] + otherClear[21:])
	require.NoError(t, err)
	require.ErrorIs(t, access.Verify(&row, mixed, now), access.ErrTokenSecret)
	require.ErrorIs(t, access.Verify(&other, mixed, now), access.ErrTokenSecret, "the right secret under another id")
	require.ErrorIs(t, access.Verify(&access.Token{}, access.Presented{}, now), access.ErrTokenSecret)

	revoked := row
	revoked.RevokedAt = &now
	require.ErrorIs(t, access.Verify(&revoked, p, now), access.ErrTokenRevoked)
	require.ErrorIs(t, access.Verify(&revoked, mixed, now), access.ErrTokenSecret, "a wrong secret learns nothing of the state")
}

func TestNewTokenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		kind, subject, by string
		life              time.Duration
		field             string
	}{
		"kind":    {"human", "ada", "c1", time.Hour, "kind"},
		"subject": {"application", "Shop!", "c1", time.Hour, "subject"},
		"by":      {"application", "shop", "", time.Hour, "created_by"},
		"no life": {"application", "shop", "c1", 0, "expires_at"},
		"endless": {"application", "shop", "c1", access.MaxTokenLife + time.Second, "expires_at"},
	} {
		row, once, err := access.NewToken(c.kind, c.subject, c.by, now, c.life)
		require.Equal(t, c.field, field(t, err), name)
		require.Nil(t, once)
		require.Zero(t, row)
	}
}

func TestParseTokenRefuses(t *testing.T) {
	_, clear := mint(t)
	for name, bad := range map[string]string{
		"empty":       "",
		"prefix":      "CVT_" + clear[4:],
		"short":       clear[:len(clear)-1],
		"long":        clear + "A",
		"huge":        strings.Repeat(clear, 10000),
		"no dot":      strings.Replace(clear, ".", "a", 1),
		"upper id":    clear[:4] + "A" + clear[5:],
		"digit of id": clear[:4] + "1" + clear[5:],
		"not base64":  clear[:21] + "!" + clear[22:],
		"line break":  clear[:21] + "\n" + clear[22:],
		"stray bits":  clear[:len(clear)-1] + "B",
	} {
		_, err := access.ParseToken(bad)
		require.ErrorIs(t, err, access.ErrTokenMalformed, name)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("cvt_abcdefghijklmnop." + strings.Repeat("A", 43))
	f.Add("cvt_abcdefghijklmno." + strings.Repeat("A", 44))
	f.Add("cvt_" + strings.Repeat("\n", 60))
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := access.ParseToken(s); err == nil && !strings.HasPrefix(s, access.TokenPrefix+p.ID+".") {
			t.Fatalf("%q has id %q", s, p.ID)
		}
	})
}

func grant() *access.Grant {
	return &access.Grant{ID: "g1", Application: "shop", Key: "payroll", Operations: []access.Operation{access.DataKey, access.Decrypt},
		Context: map[string]string{"tenant": "blue"}, CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour), CreatedBy: "c1"}
}

func TestGrantCovers(t *testing.T) {
	blue := map[string]string{"tenant": "blue", "table": "orders"}
	cases := map[string]struct {
		change  func(g *access.Grant)
		op      access.Operation
		key     string
		context map[string]string
		at      time.Time
		code    string
	}{
		"covered":         {nil, access.Decrypt, "payroll", blue, now, ""},
		"to the last":     {nil, access.DataKey, "payroll", blue, now.Add(24*time.Hour - 1), ""},
		"other key":       {nil, access.Decrypt, "other", blue, now, access.CodeGrantKey},
		"other operation": {nil, access.Encrypt, "payroll", blue, now, access.CodeGrantOperation},
		"no operation":    {nil, "", "payroll", blue, now, access.CodeGrantOperation},
		"revoked":         {func(g *access.Grant) { g.RevokedAt = &now }, access.Decrypt, "payroll", blue, now, access.CodeGrantRevoked},
		"early":           {nil, access.Decrypt, "payroll", blue, now.Add(-1), access.CodeGrantNotYet},
		"expired":         {nil, access.Decrypt, "payroll", blue, now.Add(24 * time.Hour), access.CodeGrantExpired},
		"undated":         {func(g *access.Grant) { g.ExpiresAt = time.Time{} }, access.Decrypt, "payroll", blue, now, access.CodeGrantExpired},
		"no context":      {nil, access.Decrypt, "payroll", nil, now, access.CodeGrantContext},
		"other context":   {nil, access.Decrypt, "payroll", map[string]string{"tenant": "red"}, now, access.CodeGrantContext},
		"absent is not empty": {func(g *access.Grant) { g.Context = map[string]string{"tenant": ""} }, access.Decrypt, "payroll",
			map[string]string{}, now, access.CodeGrantContext},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := grant()
			if c.change != nil {
				c.change(g)
			}
			err := g.Covers(c.op, c.key, c.context, c.at)
			if c.code == "" {
				require.NoError(t, err)
				return
			}
			var e *access.GrantError
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.code, e.Code)
			require.NotEmpty(t, e.Error())
		})
	}
}

func TestValidateRecords(t *testing.T) {
	require.NoError(t, grant().Validate())
	many := map[string]string{}
	for i := range access.MaxContextFields + 1 {
		many[fmt.Sprint(i)] = "x"
	}
	for name, c := range map[string]struct {
		change func(g *access.Grant)
		field  string
	}{
		"id":          {func(g *access.Grant) { g.ID = "" }, "id"},
		"application": {func(g *access.Grant) { g.Application = "*" }, "application"},
		"key":         {func(g *access.Grant) { g.Key = "*" }, "key"},
		"none":        {func(g *access.Grant) { g.Operations = nil }, "operations"},
		"unknown":     {func(g *access.Grant) { g.Operations = []access.Operation{"*"} }, "operations[0]"},
		"twice":       {func(g *access.Grant) { g.Operations = []access.Operation{"decrypt", "decrypt"} }, "operations[1]"},
		"fields":      {func(g *access.Grant) { g.Context = many }, "context"},
		"name":        {func(g *access.Grant) { g.Context = map[string]string{"": "x"} }, "context"},
		"value":       {func(g *access.Grant) { g.Context = map[string]string{"a": strings.Repeat("x", 257)} }, `context["a"]`},
		"ends":        {func(g *access.Grant) { g.ExpiresAt = g.CreatedAt }, "expires_at"},
		"endless":     {func(g *access.Grant) { g.ExpiresAt = g.CreatedAt.Add(access.MaxGrantLife + 1) }, "expires_at"},
	} {
		g := grant()
		c.change(g)
		require.Equal(t, c.field, field(t, g.Validate()), name)
	}

	app := access.Application{ID: "shop", Name: "Shop", Owner: "ada", Environment: key.Production, Status: access.StatusActive}
	require.NoError(t, app.Validate())
	require.True(t, app.Active())
	app.SuspendedAt = &now
	require.False(t, app.Active())
	app.Status = ""
	require.Equal(t, "status", field(t, app.Validate()))
	require.False(t, app.Active())

	row, _ := mint(t)
	row.SecretHash = row.SecretHash[:31]
	require.Equal(t, "secret_hash", field(t, row.Validate()))
	row.ID = "short"
	require.Equal(t, "id", field(t, row.Validate()))
}

func BenchmarkParseAndVerify(b *testing.B) {
	row, once, err := access.NewToken("application", "shop", "c1", now, time.Hour)
	require.NoError(b, err)
	var clear string
	require.NoError(b, once.Use(func(raw []byte) error { clear = string(raw); return nil }))
	once.Wipe()
	for b.Loop() {
		p, err := access.ParseToken(clear)
		if err != nil || access.Verify(&row, p, now) != nil {
			b.Fatal("refused")
		}
	}
}
