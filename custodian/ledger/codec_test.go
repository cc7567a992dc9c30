package ledger_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
)

func drawEntry(t *rapid.T) *ledger.Entry {
	text := func(name string) string { return rapid.StringN(0, 60, ledger.MaxText).Draw(t, name) }
	some := func(name string) string { return rapid.StringN(1, 60, ledger.MaxText).Draw(t, name) }
	whole := rapid.Uint64Range(0, ledger.MaxInteger)
	e := &ledger.Entry{
		Type: some("type"),
		Actor: identity.Principal{
			Kind: identity.Kind(some("kind")), ID: some("actor"), Credential: text("cred"),
			Origin: text("origin"), RequestID: text("request"),
		},
		Node:    text("node"),
		Target:  ledger.Target{Type: text("ttype"), ID: text("tid"), Version: rapid.Uint32().Draw(t, "version")},
		Outcome: rapid.SampledFrom([]ledger.Outcome{ledger.Allow, ledger.Deny, ledger.Done, ledger.Failed}).Draw(t, "outcome"),
		Reason:  text("reason"), Policy: text("policy"), Ceremony: text("ceremony"), Context: text("context"),
		Seq: whole.Draw(t, "seq"), Epoch: whole.Draw(t, "epoch"),
		At: time.UnixMicro(rapid.Int64Range(1, ledger.MaxInteger).Draw(t, "at")).UTC(),
	}
	copy(e.Salt[:], rapid.SliceOfN(rapid.ByteRange(1, 255), 16, 16).Draw(t, "salt"))
	for range rapid.IntRange(0, 3).Draw(t, "rows") {
		r := ledger.RowChange{Kind: some("rkind"), ID: some("rid"), Revision: whole.Draw(t, "rev")}
		copy(r.Hash[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "hash"))
		e.Rows = append(e.Rows, r)
	}
	if rapid.Bool().Draw(t, "control") {
		e.Link = &ledger.Link{Number: whole.Draw(t, "number"), Prev: whole.Draw(t, "prev")}
	}
	if rapid.Bool().Draw(t, "detailed") {
		e.Detail = []byte(`{"n":9007199254740992,"list":[null,true]}`)
		v := jsontext.Value(e.Detail)
		require.NoError(t, v.Canonicalize())
		e.Detail = v
	}
	return e
}

func TestCanonicalFormIsRFC8785AndReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		require.NoError(t, ledger.Validate(e))
		raw := ledger.AppendCanonical(nil, e)

		canonical := jsontext.Value(bytes.Clone(raw))
		require.NoError(t, canonical.Canonicalize())
		require.Equal(t, string(canonical), string(raw))

		back, err := ledger.Decode(raw)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(e, back))
	})
}

func TestCanonicalFormIsAlwaysJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		e.Reason = string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		canonical := jsontext.Value(ledger.AppendCanonical(nil, e))
		require.True(t, canonical.IsValid())
	})
}

func TestTypicalEntryIsSmall(t *testing.T) {
	e := dataEntry(t)
	e.Seq, e.Epoch, e.At = 123_456_789, 1234, time.Date(2026, 11, 3, 12, 0, 0, 123456000, time.UTC)
	raw := ledger.AppendCanonical(nil, &e)
	require.LessOrEqual(t, len(raw), 430, string(raw))
}

func TestAppendCanonicalAllocatesNothing(t *testing.T) {
	e, dst := dataEntry(t), make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() { dst = ledger.AppendCanonical(dst[:0], &e) }))
}

func TestValidateNamesTheField(t *testing.T) {
	long := strings.Repeat("x", ledger.MaxText+1)
	for field, spoil := range map[string]func(e *ledger.Entry){
		"type":         func(e *ledger.Entry) { e.Type = "" },
		"actor.kind":   func(e *ledger.Entry) { e.Actor.Kind = "" },
		"actor.id":     func(e *ledger.Entry) { e.Actor.ID = "" },
		"actor.from":   func(e *ledger.Entry) { e.Actor.Origin = "\xff" },
		"node":         func(e *ledger.Entry) { e.Node = long },
		"outcome":      func(e *ledger.Entry) { e.Outcome = "perhaps" },
		"salt":         func(e *ledger.Entry) { e.Salt = [16]byte{} },
		"at":           func(e *ledger.Entry) { e.At = time.Unix(0, 1) },
		"seq":          func(e *ledger.Entry) { e.Seq = ledger.MaxInteger + 1 },
		"epoch":        func(e *ledger.Entry) { e.Epoch = ledger.MaxInteger + 1 },
		"link.n":       func(e *ledger.Entry) { e.Link = &ledger.Link{Number: 1 << 60} },
		"link.prev":    func(e *ledger.Entry) { e.Link = &ledger.Link{Prev: 1 << 60} },
		"rows":         func(e *ledger.Entry) { e.Rows = make([]ledger.RowChange, ledger.MaxRows+1) },
		"rows[0]":      func(e *ledger.Entry) { e.Rows = []ledger.RowChange{{Kind: "k"}} },
		"rows[0].id":   func(e *ledger.Entry) { e.Rows = []ledger.RowChange{{Kind: "k", ID: long}} },
		"rows[0].kind": func(e *ledger.Entry) { e.Rows = []ledger.RowChange{{Kind: long, ID: "i"}} },
		"rows[0].rev":  func(e *ledger.Entry) { e.Rows = []ledger.RowChange{{Kind: "k", ID: "i", Revision: 1 << 60}} },
	} {
		e := dataEntry(t)
		spoil(&e)
		var bad *ledger.FieldError
		require.ErrorAs(t, ledger.Validate(&e), &bad, field)
		require.Equal(t, field, bad.Field)
	}
	for _, detail := range []string{
		`[]`, `{`, `{}{}`, `{"a":1,"a":2}`, `{"a":1.5}`, `{"a":1e2}`, `{"a":9007199254740993}`, `{ }`,
		`{"b":1,"a":2}`, "{\"a\":\"\xff\"}", strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), `"x"`,
		`{"a":` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}`,
	} {
		e := dataEntry(t)
		e.Detail = []byte(detail)
		var bad *ledger.FieldError
		require.ErrorAs(t, ledger.Validate(&e), &bad, detail)
		require.Equal(t, "detail", bad.Field)
	}
}

func TestLargeDetailGivesWayToItsDigest(t *testing.T) {
	e := dataEntry(t)
	e.Detail = []byte(`{"text":"` + strings.Repeat("x", ledger.MaxEntry) + `"}`)
	require.Error(t, ledger.Validate(&e))
	ledger.ShrinkDetail(&e)
	require.NoError(t, ledger.Validate(&e))
	require.Regexp(t, `^\{"bytes":16395,"digest":"sha256:[0-9a-f]{64}"\}$`, string(e.Detail))
	before := e.Detail
	ledger.ShrinkDetail(&e)
	require.Equal(t, before, e.Detail)
}

func TestEntryNeverExceedsItsBound(t *testing.T) {
	e := dataEntry(t)
	e.Reason = strings.Repeat("\x01", ledger.MaxText)
	for range ledger.MaxRows {
		e.Rows = append(e.Rows, ledger.RowChange{Kind: e.Reason, ID: e.Reason, Revision: ledger.MaxInteger})
	}
	require.Error(t, ledger.Validate(&e))
}

func TestAnyEntryAcceptedCanBeReadBack(t *testing.T) {
	for size := ledger.MaxEntry - 700; size < ledger.MaxEntry; size++ {
		e := dataEntry(t)
		e.Detail = []byte(`{"text":"` + strings.Repeat("x", size) + `"}`)
		if ledger.Validate(&e) != nil {
			continue
		}
		e.Seq, e.Epoch, e.At = ledger.MaxInteger, ledger.MaxInteger, time.UnixMicro(ledger.MaxInteger).UTC()
		e.Link = &ledger.Link{Number: ledger.MaxInteger, Prev: ledger.MaxInteger}
		_, err := ledger.Decode(ledger.AppendCanonical(nil, &e))
		require.NoError(t, err)
	}
}

func TestCleanText(t *testing.T) {
	require.Equal(t, "plain", ledger.CleanText("plain"))
	require.Equal(t, "a\uFFFDb\uFFFDc\uFFFD", ledger.CleanText("a\x00b\u202ec\xff"))
	rapid.Check(t, func(t *rapid.T) {
		s := ledger.CleanText(string(rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "s")))
		require.True(t, utf8.ValidString(s))
		require.LessOrEqual(t, len(s), ledger.MaxText)
	})
}

func TestDecodeIsStrict(t *testing.T) {
	e := dataEntry(t)
	e.At = time.UnixMicro(5).UTC()
	good := string(ledger.AppendCanonical(nil, &e))
	_, err := ledger.Decode([]byte(good))
	require.NoError(t, err)
	for name, bad := range map[string]string{
		"unknown member":   strings.Replace(good, `{"actor"`, `{"aa":1,"actor"`, 1),
		"other case":       strings.Replace(good, `"actor"`, `"Actor"`, 1),
		"repeated member":  strings.Replace(good, `,"node"`, `,"node":"n","node"`, 1),
		"space":            strings.Replace(good, `,"node"`, `, "node"`, 1),
		"needless escape":  strings.Replace(good, `payments`, `p\u0061yments`, 1),
		"empty member":     strings.Replace(good, `,"node"`, `,"link":null,"node"`, 1),
		"missing sequence": strings.Replace(good, `"seq":0,`, ``, 1),
		"float":            strings.Replace(good, `"seq":0,`, `"seq":0.0,`, 1),
		"negative time":    strings.Replace(good, `"at":5`, `"at":-5`, 1),
		"trailing":         good + " ",
		"two":              good + good,
		"none":             "",
		"null":             "null",
		"huge":             strings.Repeat(" ", ledger.MaxEntry) + good,
	} {
		require.NotEqual(t, good, bad, name)
		_, err := ledger.Decode([]byte(bad))
		require.Error(t, err, name)
	}
	_, err = ledger.Decode([]byte(strings.Replace(good, `,"node"`, `, "node"`, 1)))
	require.ErrorIs(t, err, ledger.ErrNotCanonical)
}

func FuzzDecode(f *testing.F) {
	e := dataEntry(f)
	e.At = time.UnixMicro(1).UTC()
	f.Add(ledger.AppendCanonical(nil, &e))
	e.Link, e.Detail = &ledger.Link{Number: 2, Prev: 1}, []byte(`{"a":[1]}`)
	e.Rows = []ledger.RowChange{{Kind: "k", ID: "i", Revision: 1, Hash: [32]byte{1}}, {Kind: "k", ID: "j"}}
	f.Add(ledger.AppendCanonical(nil, &e))
	f.Add([]byte(`{"actor":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ledger.Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(b, ledger.AppendCanonical(nil, e)) {
			t.Fatalf("two readings of %q", b)
		}
	})
}

func TestBundles(t *testing.T) {
	entries := [][]byte{[]byte("a"), bytes.Repeat([]byte("b"), ledger.MaxEntry), []byte("{}")}
	var bundle []byte
	for _, e := range entries {
		var err error
		bundle, err = ledger.AppendBundle(bundle, e)
		require.NoError(t, err)
	}
	var got [][]byte
	for e, err := range ledger.ReadBundle(bundle) {
		require.NoError(t, err)
		got = append(got, e)
	}
	require.Equal(t, entries, got)

	_, err := ledger.AppendBundle(nil, nil)
	require.ErrorIs(t, err, ledger.ErrBundle)
	_, err = ledger.AppendBundle(nil, make([]byte, ledger.MaxEntry+1))
	require.ErrorIs(t, err, ledger.ErrBundle)
}

func FuzzReadBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'a', 0, 2, 'b', 'c'})
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xff, 1})
	f.Add([]byte{0, 5, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		for e, err := range ledger.ReadBundle(b) {
			if err != nil {
				if !errors.Is(err, ledger.ErrBundle) || (errors.Is(err, io.ErrUnexpectedEOF) && len(b) == 0) {
					t.Fatal(err)
				}
				return
			}
			if again, err = ledger.AppendBundle(again, e); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, b) {
			t.Fatal("read differs from written")
		}
	})
}

func BenchmarkAppendCanonical(b *testing.B) {
	e, dst := dataEntry(b), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = ledger.AppendCanonical(dst[:0], &e)
	}
}

func BenchmarkValidate(b *testing.B) {
	e := dataEntry(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := ledger.Validate(&e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	e := dataEntry(b)
	e.At = time.UnixMicro(1).UTC()
	raw := ledger.AppendCanonical(nil, &e)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
