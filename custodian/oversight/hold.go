package oversight

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"conclave/custodian/key"
)

// What a hold can be on.
const (
	HoldKey      = "key"         // a key with all its versions
	HoldVersion  = "key_version" // one version: key.VersionID
	HoldAsset    = "asset"       // data on record: what it needs to be read, and that it is there
	HoldTemplate = "template"    // a template as it is, and the keys made under it
	HoldPerson   = "person"      // the records about a person
	HoldLedger   = "ledger"      // entries From to To, both included
	HoldInstance = "instance"    // everything
)

// Hold forbids to destroy or delete what it is on, for as long as a legal matter needs it (NIST SP 800-53 AU-11;
// ISO 15489). Row id: ID.
type Hold struct {
	ID       string     `json:"id"`
	On       Ref        `json:"on"` // ID is "" for ledger and instance
	From     uint64     `json:"from,omitempty"`
	To       uint64     `json:"to,omitempty"`
	Matter   string     `json:"matter"` // what it is for, as the lawyers name it
	SetAt    time.Time  `json:"set_at"`
	SetBy    string     `json:"set_by"`   // person id
	Ceremony string     `json:"ceremony"` // that set it
	LiftedAt *time.Time `json:"lifted_at,omitempty"`
	LiftedBy string     `json:"lifted_by,omitempty"` // ceremony that lifted it
}

// InForce reports whether it has not been lifted.
func (h *Hold) InForce() bool { return h.LiftedAt == nil }

// Validate names the first field that is wrong (*key.FieldError).
func (h *Hold) Validate() error {
	checks := []error{
		key.CheckID("id", h.ID),
		key.CheckOneOf("on.type", h.On.Type, HoldKey, HoldVersion, HoldAsset, HoldTemplate, HoldPerson, HoldLedger, HoldInstance),
		key.CheckText("matter", h.Matter, maxTitle, false),
	}
	switch h.On.Type {
	case HoldLedger, HoldInstance:
		if h.On.ID != "" {
			checks = append(checks, &key.FieldError{Field: "on.id", Problem: "given", Allowed: "nothing: " + h.On.Type + " has no id"})
		}
	default:
		checks = append(checks, h.On.validate("on"))
	}
	if h.On.Type == HoldLedger && h.To < h.From || h.On.Type != HoldLedger && (h.From != 0 || h.To != 0) {
		checks = append(checks, &key.FieldError{Field: "to", Problem: fmt.Sprintf("entries %d to %d", h.From, h.To),
			Allowed: "from not above to, and both for type ledger only"})
	}
	return key.First(checks)
}

// Covers reports whether the hold, if in force, keeps this from being destroyed or deleted.
func (h *Hold) Covers(r Ref) bool {
	switch {
	case !h.InForce():
		return false
	case h.On.Type == HoldInstance:
		return true
	case h.On == r:
		return true
	case h.On.Type == HoldKey && r.Type == HoldVersion:
		keyID, _, found := strings.Cut(r.ID, "/")
		return found && keyID == h.On.ID
	case h.On.Type == HoldVersion && r.Type == HoldKey: // a key with a version on hold is not retired
		return strings.HasPrefix(h.On.ID, r.ID+"/")
	}
	return false
}

// CoversEntries reports whether the hold, if in force, keeps any of these entries from being deleted.
func (h *Hold) CoversEntries(from, to uint64) bool {
	return h.InForce() && (h.On.Type == HoldInstance || h.On.Type == HoldLedger && h.From <= to && from <= h.To)
}

// What says in words what the hold is on.
func (h *Hold) What() string {
	switch h.On.Type {
	case HoldInstance:
		return "everything in this instance"
	case HoldLedger:
		return "ledger entries " + strconv.FormatUint(h.From, 10) + " to " + strconv.FormatUint(h.To, 10)
	case HoldVersion:
		return "key version " + h.On.ID
	case HoldPerson:
		return "the records about " + h.On.ID
	}
	return h.On.String()
}
