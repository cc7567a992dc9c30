package siem

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	syslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
)

// Whatever stands in an entry, an independent parser reads one syslog message with the same values, and a line is one JSON value.
func FuzzMessage(f *testing.F) {
	f.Add("key.use", "shop", "10.1.2.3:4", "cards", "no_grant")
	f.Add("export]gap", `a"b]\`, "\n", "\x00", "é\u2028")
	f.Add("", "", "", "", "")
	f.Add("t", "<13>1 - - - - - -\n", `\"]`, `\`, `[x y="z"]`)
	f.Fuzz(func(t *testing.T, kind, actor, origin, target, reason string) {
		for _, s := range []string{kind, actor, origin, target, reason} {
			if !utf8.ValidString(s) {
				return // entries hold valid UTF-8 only
			}
		}
		r := Record{Raw: []byte(`{"raw":true}`), Entry: &ledger.Entry{Seq: 7, Type: kind, At: time.Unix(1_790_000_000, 0), Actor: identity.Principal{Kind: identity.Application, ID: actor, Origin: origin},
			Target: ledger.Target{Type: "key", ID: target}, Outcome: ledger.Deny, Reason: reason}}
		src := Source{Instance: "00ff", Mode: "development", Node: "node-1", Version: "test"}
		line, err := r.line(src)
		if err != nil || !json.Valid(line) || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("no line of JSON: %q %v", line, err)
		}
		if _, _, err := otlp([]Record{r}, src); err != nil {
			t.Fatal(err)
		}
		read := 0
		octetcounting.NewParser(syslog.WithListener(func(res *syslog.Result) {
			if res.Error != nil {
				return // the end
			}
			read++
			data := (*res.Message.(*rfc5424.SyslogMessage).StructuredData)[sdID]
			if data["reason"] != reason || data["from"] != origin || data["actor"] != r.Entry.Actor.String() || data["target"] != "key:"+target || data["seq"] != "7" {
				t.Fatalf("%q reads as %q", []string{actor, origin, target, reason}, data)
			}
		}), syslog.WithMaxMessageLength(1<<20)).Parse(bytes.NewReader(appendFrame(nil, message(&r, src))))
		if read != 1 {
			t.Fatalf("%d messages in %q", read, message(&r, src))
		}
	})
}

// A collector that refuses a part has not taken the batch, whatever it says besides; nothing in an answer breaks the exporter.
func FuzzOTLPTaken(f *testing.F) {
	f.Add(int64(3), "no", []byte(`{}`))
	f.Add(int64(0), "", []byte("<html>"))
	f.Add(int64(-1), "\x00", []byte(`{"partialSuccess":{"rejectedLogRecords":[]}}`))
	f.Fuzz(func(t *testing.T, refused int64, message string, raw []byte) {
		_ = otlpTaken(raw)
		body, err := json.Marshal(map[string]any{"partialSuccess": map[string]any{"rejectedLogRecords": strconv.FormatInt(refused, 10), "errorMessage": message}})
		if err != nil {
			t.Fatal(err)
		}
		if err := otlpTaken(body); (err == nil) != (refused == 0) {
			t.Fatalf("%s: %v", body, err)
		}
	})
}
