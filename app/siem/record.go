// Package siem delivers the ledger's entries to where an organisation watches: syslog over TLS, JSON lines in a file or
// over HTTP, OpenTelemetry logs. Each target gets every entry at least once and in order, from its own place in the
// ledger, by one replica at a time; what was delivered is noted after the target has taken it. Nothing on the way of a
// call waits for it: entries are read from the database behind the ledger.
package siem

import (
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/ledger"
)

// Record is one ledger entry on its way, or a notice about the delivery itself (Gap).
type Record struct {
	Entry *ledger.Entry
	Raw   []byte // exact bytes
	// Gap says why sequence numbers do not go on as before; then Entry is nil.
	Gap string
	At  time.Time // of a gap
	Seq uint64    // of a gap: the next entry's
}

// Source says who delivers.
type Source struct {
	Instance string // genesis digest
	Mode     string // "production" or "development"
	Node     string
	Version  string // of the program
}

// OCSF 1.5.0: class API Activity of category Application Activity. It is the one class that fits every entry: who
// called which operation on what, and how it ended.
const (
	ocsfVersion  = "1.5.0"
	ocsfCategory = 6
	ocsfClass    = 6003
)

// severity is how an entry is to be looked at.
type severity int

const (
	informational severity = iota
	notable                // refused or failed
	alarming               // the record or the custody itself is in danger
)

// alarms are types of entries that somebody must look at, whatever their outcome.
func alarms() []string {
	return []string{"integrity.violation", "clock.disagrees", "share.report-lost", "share.lost-form", "keystore.secret-exposed", "key.compromise", "breakglass.open",
		"placement.drift", "quorum.worse", "witness.refused", "node.duplicate", "recovery.begin"}
}

func (r *Record) severity() severity {
	if r.Gap != "" {
		return alarming
	}
	for _, name := range alarms() {
		if r.Entry.Type == name {
			return alarming
		}
	}
	if strings.HasPrefix(r.Entry.Type, "monitor.") && r.Entry.Outcome == ledger.Failed {
		return alarming
	}
	if r.Entry.Outcome == ledger.Deny || r.Entry.Outcome == ledger.Failed {
		return notable
	}
	return informational
}

func (r *Record) at() time.Time {
	if r.Entry == nil {
		return r.At
	}
	return r.Entry.At
}

// ocsfActivity is the activity of API Activity that a type of entry is: 1 create, 2 read, 3 update, 4 delete, 99 other.
func ocsfActivity(kind string) int {
	_, last, _ := strings.Cut(kind, ".")
	switch {
	case strings.HasSuffix(kind, ".read"), strings.HasSuffix(last, "explain"):
		return 2
	case hasAny(last, "create", "add", "enrol", "register", "issue", "import", "open", "grant", "set"):
		return 1
	case hasAny(last, "destroy", "remove", "delete", "revoke", "retire", "expire", "lift"):
		return 4
	case hasAny(last, "alter", "change", "rotate", "suspend", "resume", "activate", "deactivate", "compromise", "reclassify", "move", "transfer"):
		return 3
	}
	return 99
}

func hasAny(s string, words ...string) bool {
	for _, w := range words {
		if s == w || strings.HasPrefix(s, w+".") || strings.HasPrefix(s, w+"-") {
			return true
		}
	}
	return false
}

// ocsf is the record as an OCSF event.
func (r *Record) ocsf(src Source) map[string]any {
	activity := 99
	event := map[string]any{
		"category_uid": ocsfCategory, "class_uid": ocsfClass, "time": r.at().UnixMilli(), "severity_id": []int{1, 3, 5}[r.severity()],
		"metadata": map[string]any{"version": ocsfVersion, "log_provider": "conclave", "log_name": "ledger", "tenant_uid": src.Instance,
			"product": map[string]any{"name": "Conclave", "vendor_name": "Conclave", "version": src.Version}},
		"unmapped": map[string]any{"mode": src.Mode, "node": src.Node},
	}
	metadata, unmapped := event["metadata"].(map[string]any), event["unmapped"].(map[string]any)
	if r.Entry == nil {
		event["activity_id"], event["type_uid"], event["status_id"] = activity, ocsfClass*100+activity, 99
		event["message"], unmapped["gap"], metadata["sequence"] = r.Gap, r.Gap, r.Seq
		return event
	}
	e := r.Entry
	leaf := ledger.LeafHash(r.Raw)
	activity = ocsfActivity(e.Type)
	metadata["sequence"], metadata["uid"], metadata["event_code"] = e.Seq, hex.EncodeToString(leaf[:]), e.Type
	event["activity_id"], event["type_uid"] = activity, ocsfClass*100+activity
	event["status_id"], event["status"] = 1, "Success"
	if e.Outcome == ledger.Deny || e.Outcome == ledger.Failed {
		event["status_id"], event["status"] = 2, "Failure"
	}
	if e.Reason != "" {
		event["status_code"] = e.Reason
	}
	event["message"] = e.Actor.String() + " " + e.Type + " " + e.Target.Type + " " + e.Target.ID + ": " + string(e.Outcome)
	event["actor"] = map[string]any{"user": map[string]any{"uid": e.Actor.ID, "type": string(e.Actor.Kind), "credential_uid": e.Actor.Credential}}
	event["api"] = map[string]any{"operation": e.Type, "service": map[string]any{"name": "conclave"}, "request": map[string]any{"uid": e.Actor.RequestID}}
	event["src_endpoint"] = endpoint(e.Actor.Origin)
	if e.Target.ID != "" {
		event["resources"] = []any{map[string]any{"type": e.Target.Type, "uid": e.Target.ID, "version": strconv.FormatUint(uint64(e.Target.Version), 10)}}
	}
	unmapped["outcome"], unmapped["entry"] = string(e.Outcome), jsontext.Value(r.Raw)
	return event
}

func endpoint(origin string) map[string]any {
	host, port, err := net.SplitHostPort(origin)
	if err != nil {
		host, port = origin, ""
	}
	out := map[string]any{"ip": host}
	if host == "" {
		out = map[string]any{"name": "conclave"} // the node itself: OCSF wants an endpoint
	}
	if n, err := strconv.Atoi(port); err == nil {
		out["port"] = n
	}
	return out
}

// line is the record as one line of JSON, RFC 8785, with its newline.
func (r *Record) line(src Source) ([]byte, error) {
	raw, err := json.Marshal(r.ocsf(src), json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	v := jsontext.Value(raw)
	if err := v.Canonicalize(); err != nil {
		return nil, err
	}
	return append(v, '\n'), nil
}
