package workspace

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// scope is what belongs to the subject of a dossier: rows, and entries that changed or name them.
type scope struct {
	kind, id string
	rows     map[string]bool // "kind id"
}

func newScope(kind, id string) *scope {
	s := &scope{kind: kind, id: id, rows: map[string]bool{}}
	s.add(kind, id)
	return s
}

func (s *scope) add(kind, id string) { s.rows[kind+" "+id] = true }

// row says whether a row is the subject's by its id, which holds of rows that are gone as well.
func (s *scope) row(kind, id string) bool {
	if s.rows[kind+" "+id] {
		return true
	}
	switch {
	case s.kind == string(custodian.KindKey) && kind == string(custodian.KindKeyVersion),
		s.kind == string(custodian.KindShareSet) && kind == string(custodian.KindShare):
		return strings.HasPrefix(id, s.id+"/")
	}
	return false
}

// kinds are those of which rows can belong to the subject, its own first.
func (s *scope) kinds() []string {
	name := func(kinds ...store.Kind) []string {
		out := []string{s.kind}
		for _, k := range kinds {
			out = append(out, string(k))
		}
		return out
	}
	switch store.Kind(s.kind) {
	case custodian.KindKey:
		return name(custodian.KindKeyVersion, custodian.KindGrant, custodian.KindAsset, custodian.KindCampaign, custodian.KindException, custodian.KindDrift,
			custodian.KindHold, custodian.KindFinding)
	case custodian.KindKeyVersion:
		return name(custodian.KindCampaign, custodian.KindHold, custodian.KindFinding)
	case custodian.KindKeystore:
		return name(custodian.KindShareSet, custodian.KindException, custodian.KindDrift, custodian.KindHold, custodian.KindFinding)
	case custodian.KindPerson:
		return name(custodian.KindShare, custodian.KindToken, custodian.KindDuty, custodian.KindCustody, custodian.KindFinding)
	case custodian.KindShareSet:
		return name(custodian.KindShare, custodian.KindShareForm, custodian.KindDrillPlan, custodian.KindDrill)
	case custodian.KindShare:
		return name(custodian.KindShareForm, custodian.KindCustody, custodian.KindFinding)
	case custodian.KindShareForm:
		return name(custodian.KindCustody)
	case custodian.KindApplication:
		return name(custodian.KindGrant, custodian.KindToken, custodian.KindHold, custodian.KindFinding)
	case kindCeremony:
		return name(custodian.KindReview, custodian.KindFinding)
	}
	return name()
}

// probe reads the members by which rows of other packages name what they belong to.
type probe struct {
	Key         string         `json:"key"`
	Version     jsontext.Value `json:"version"`
	Keystore    string         `json:"keystore"`
	Application string         `json:"application"`
	Subject     string         `json:"subject"`
	Custodian   string         `json:"custodian"`
	Person      string         `json:"person"`
	Ceremony    string         `json:"ceremony"`
	Set         string         `json:"set"`
	Epoch       uint32         `json:"epoch"`
	Index       int            `json:"index"`
	On          named          `json:"on"`
	About       named          `json:"about"`
	Facts       struct {
		Form    string `json:"form"`
		Set     string `json:"set"`
		Epoch   uint32 `json:"epoch"`
		Index   int    `json:"index"`
		Who     string `json:"who"`
		Witness string `json:"witness"`
	} `json:"facts"`
}

type named struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// belongs says whether a row of another kind names the subject.
func (s *scope) belongs(kind string, body []byte) bool {
	if kind == s.kind {
		return false
	}
	var p probe
	if json.Unmarshal(body, &p) != nil {
		return false // decoded strictly by its owner; of another form it names nothing here
	}
	if s.row(p.On.Type, p.On.ID) || s.row(p.About.Type, p.About.ID) {
		return true
	}
	switch s.kind {
	case string(custodian.KindKey):
		return p.Key == s.id
	case string(custodian.KindKeyVersion):
		return p.Key != "" && p.Key+"/"+string(p.Version) == s.id
	case string(custodian.KindKeystore):
		return p.Keystore == s.id
	case string(custodian.KindApplication):
		return p.Application == s.id || p.Subject == s.id
	case string(custodian.KindPerson):
		return slices.Contains([]string{p.Custodian, p.Person, p.Subject, p.Facts.Who, p.Facts.Witness}, s.id)
	case string(custodian.KindShareSet):
		return p.Set == s.id
	case string(custodian.KindShare):
		return fmt.Sprintf("%s/%d/%d", p.Set, p.Epoch, p.Index) == s.id || fmt.Sprintf("%s/%d/%d", p.Facts.Set, p.Facts.Epoch, p.Facts.Index) == s.id
	case string(custodian.KindShareForm):
		return p.Facts.Form == s.id
	case kindCeremony:
		return p.Ceremony == s.id
	}
	return false
}

// entry says whether an entry changed or names what belongs to the subject: its ceremony is then about it too.
func (s *scope) entry(e *ledger.Entry) bool {
	if s.row(e.Target.Type, e.Target.ID) || s.kind == kindCeremony && e.Ceremony == s.id {
		return true
	}
	return slices.ContainsFunc(e.Rows, func(c ledger.RowChange) bool { return s.row(c.Kind, c.ID) })
}

// acted says whether the subject is a person who did it.
func (s *scope) acted(e *ledger.Entry) bool {
	return s.kind == string(custodian.KindPerson) && e.Actor.Kind == identity.Human && e.Actor.ID == s.id
}

// withheld are the members of rows that do not travel, by kind.
func withheld(kind string) []string {
	switch kind {
	case string(custodian.KindKeyVersion):
		return []string{"material"}
	case string(custodian.KindShare):
		return []string{"sealed"}
	case string(custodian.KindToken), string(custodian.KindInvitation):
		return []string{"secret_hash"}
	case string(custodian.KindShareSet):
		return []string{"verifier", "sealed"}
	case kindCeremony:
		return []string{"votes", "proposal", "params", "components"} // in the transcript, with their signatures
	}
	return nil
}

// shown is a row's body without what does not travel.
func shown(kind string, body []byte) (jsontext.Value, []string, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, nil, err
	}
	var gone []string
	for _, m := range withheld(kind) {
		if _, has := members[m]; has {
			delete(members, m)
			gone = append(gone, m)
		}
	}
	raw, err := json.Marshal(members, json.Deterministic(true))
	return raw, gone, err
}
