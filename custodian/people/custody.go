package people

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"conclave/custodian/key"
)

// FormKind is what a physical form of a share is (PCI PIN 9, 21: permitted forms).
type FormKind string

const (
	FormPaper FormKind = "paper" // a card: whoever has it has the share
	// FormProtectedPaper is a card with the share encrypted under a passphrase, which never travels with it.
	FormProtectedPaper FormKind = "paper-protected"
	FormToken          FormKind = "token"      // needs its PIN, which never travels with it
	FormSmartCard      FormKind = "smart-card" // the same
	FormFile           FormKind = "encrypted-file"
	FormPIN            FormKind = "pin-letter" // what opens a token, a smart card or a protected card: no share by itself
)

// FormKinds returns all kinds.
func FormKinds() []FormKind {
	return []FormKind{FormPaper, FormProtectedPaper, FormToken, FormSmartCard, FormFile, FormPIN}
}

// needsPIN reports whether the form is of use only with its PIN or passphrase.
func (k FormKind) needsPIN() bool {
	return k == FormToken || k == FormSmartCard || k == FormProtectedPaper
}

// Clear reports whether whoever holds the form holds the share.
func (k FormKind) Clear() bool { return k == FormPaper }

// FormState is where a physical form stands in its life (ceremony practice, section 5).
type FormState string

const (
	FormUnwitnessed FormState = "unwitnessed" // registered by one person, not yet signed for by a second
	FormIssued      FormState = "issued"      // there, in no bag yet
	FormSealed      FormState = "sealed"
	FormInTransit   FormState = "in-transit"
	FormReceived    FormState = "received"
	FormOpened      FormState = "opened"
	FormResealed    FormState = "re-sealed"
	FormLost        FormState = "lost"
	FormCompromised FormState = "compromised" // its seal was not what the register says
	FormRetired     FormState = "retired"
	FormDestroyed   FormState = "destroyed"
)

// Live reports whether the form is under control and of use.
func (s FormState) Live() bool {
	return slices.Contains([]FormState{FormIssued, FormSealed, FormInTransit, FormReceived, FormOpened, FormResealed}, s)
}

// bagged reports whether the form lies in a closed bag at a place.
func (s FormState) bagged() bool { return s == FormSealed || s == FormReceived || s == FormResealed }

// ShareForm is one physical form of a share. Row id: ID.
type ShareForm struct {
	ID           string    `json:"id"`
	Set          string    `json:"set"`
	Epoch        uint32    `json:"epoch"`
	Index        int       `json:"index"`
	Kind         FormKind  `json:"kind"`
	State        FormState `json:"state"`
	Site         string    `json:"site,omitempty"` // where it is, or is going to
	Container    string    `json:"container,omitempty"`
	Serial       string    `json:"serial,omitempty"`  // of the tamper-evident bag that it lies in
	Carrier      string    `json:"carrier,omitempty"` // person id, while in transit
	RegisteredAt time.Time `json:"registered_at"`
	ChangedAt    time.Time `json:"changed_at"`
	// CheckedAt is when two people last saw the seal intact, by the serial of the register.
	CheckedAt *time.Time `json:"checked_at,omitempty"`
	// Pending is the entry of the custody log that awaits its second signature; "" for none.
	Pending string `json:"pending,omitempty"`
}

// Share is the id of the share that it is a form of.
func (f *ShareForm) Share() string { return ShareID(f.Set, f.Epoch, f.Index) }

// SameSet reports whether two forms are of shares of one epoch of one set.
func (f *ShareForm) SameSet(g *ShareForm) bool { return f.Set == g.Set && f.Epoch == g.Epoch }

// CustodyAction is what is done to a form.
type CustodyAction string

const (
	ActRegister CustodyAction = "register"
	ActSeal     CustodyAction = "seal" // into a bag with a new serial: the first time, or after it was opened
	ActSend     CustodyAction = "send"
	ActReceive  CustodyAction = "receive"
	ActOpen     CustodyAction = "open"
	ActCheck    CustodyAction = "check"
	ActLost     CustodyAction = "lost"
	ActRetire   CustodyAction = "retire"
	ActDestroy  CustodyAction = "destroy"
)

// CustodyActions returns all actions.
func CustodyActions() []CustodyAction {
	return []CustodyAction{ActRegister, ActSeal, ActSend, ActReceive, ActOpen, ActCheck, ActLost, ActRetire, ActDestroy}
}

// Handles reports whether whoever does it has the share itself in hand.
func (a CustodyAction) Handles() bool {
	return a == ActRegister || a == ActSeal || a == ActOpen || a == ActDestroy
}

// reads reports whether the bag's serial and seal are read first, where there is a bag.
func (a CustodyAction) reads(f *ShareForm) bool {
	return f.Serial != "" && slices.Contains([]CustodyAction{ActSend, ActReceive, ActOpen, ActCheck}, a)
}

// SealCondition is how a bag was found.
type SealCondition string

const (
	SealIntact  SealCondition = "intact"
	SealDamaged SealCondition = "damaged"
	SealMissing SealCondition = "missing"
)

// CustodyFacts is what an entry of the custody log says, and what both people sign.
type CustodyFacts struct {
	Form      string        `json:"form"`
	Kind      FormKind      `json:"kind"`
	Set       string        `json:"set"`
	Epoch     uint32        `json:"epoch"`
	Index     int           `json:"index"`
	Action    CustodyAction `json:"action"`
	Who       string        `json:"who"`
	Witness   string        `json:"witness"`
	At        time.Time     `json:"at"`
	OutAt     *time.Time    `json:"out_at,omitempty"` // taken out: sent, opened
	InAt      *time.Time    `json:"in_at,omitempty"`  // put in: sealed, received
	Purpose   string        `json:"purpose"`
	Ceremony  string        `json:"ceremony,omitempty"`   // that it serves
	OldSerial string        `json:"old_serial,omitempty"` // by the register
	Read      string        `json:"read_serial,omitempty"`
	NewSerial string        `json:"new_serial,omitempty"`
	Seal      SealCondition `json:"seal,omitempty"`
	Site      string        `json:"site,omitempty"`
	Container string        `json:"container,omitempty"`
	Carrier   string        `json:"carrier,omitempty"`
}

// Suspicion says what is wrong with the bag that was found, "" for nothing: another serial than the register's, a seal
// that is damaged or missing. Each counts as suspected compromise (ceremony practice, section 5).
func (f *CustodyFacts) Suspicion() string {
	switch {
	case f.Seal == SealDamaged || f.Seal == SealMissing:
		return "the seal of bag " + f.OldSerial + " is " + string(f.Seal)
	case f.Seal != "" && f.Read != f.OldSerial:
		return fmt.Sprintf("the bag has serial %s, the register says %s", f.Read, f.OldSerial)
	}
	return ""
}

// EntryState is whether an entry of the custody log counts.
type EntryState string

const (
	EntryPending   EntryState = "pending"   // one signature
	EntryEffective EntryState = "effective" // both
	EntryDisputed  EntryState = "disputed"  // the second person says that it was not so
	EntryReplaced  EntryState = "replaced"  // another was recorded before a second person signed
)

// CustodyEntry is a line of the custody log. Row id: ID. The signatures are those of the signed requests that the two
// ceremonies keep; each covers Digest.
type CustodyEntry struct {
	ID         string       `json:"id"`
	Facts      CustodyFacts `json:"facts"`
	Digest     string       `json:"digest"` // hex SHA-256 of the canonical JSON of Facts
	State      EntryState   `json:"state"`
	Recorded   string       `json:"recorded"` // ceremony with the signature of Who
	RecordedAt time.Time    `json:"recorded_at"`
	Signed     string       `json:"signed,omitempty"` // ceremony with the signature of Witness
	SignedAt   *time.Time   `json:"signed_at,omitempty"`
	Remark     string       `json:"remark,omitempty"`  // of the witness
	Finding    string       `json:"finding,omitempty"` // opened by it
}

// SignWithin is how long the second signature may take before somebody is to look (ours).
const SignWithin = 24 * time.Hour

// Late reports whether the second signature is overdue.
func (e *CustodyEntry) Late(now time.Time) bool {
	return e.State == EntryPending && now.Sub(e.RecordedAt) > SignWithin
}

// BagSerial remembers for ever that a serial was used. Row id: the serial.
type BagSerial struct {
	Serial string `json:"serial"`
	Form   string `json:"form"`
	Entry  string `json:"entry"`
}

var serialForm = regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{3,31}$`)

// CheckSerial checks a bag's serial as it is written down: capitals, digits and hyphens, 4 to 32.
func CheckSerial(field, serial string, optional bool) error {
	if serial == "" && optional || serialForm.MatchString(serial) {
		return nil
	}
	return &key.FieldError{Field: field, Problem: fmt.Sprintf("%q", clip(serial)), Allowed: "4 to 32 of A-Z 0-9 and -, beginning with a letter or digit"}
}

// Step is the form after an entry that both people signed. The error says why it cannot be (*CustodyError), or which
// field is wrong (*key.FieldError). Rules between forms are CheckPlaces'.
func (f *ShareForm) Step(e *CustodyFacts) (*ShareForm, error) {
	if err := f.checkStep(e); err != nil {
		return nil, err
	}
	next := *f
	next.ChangedAt, next.Pending = e.At, ""
	if e.Suspicion() != "" {
		next.State, next.Carrier = FormCompromised, ""
		return &next, nil
	}
	if e.Action.reads(f) {
		next.CheckedAt = &e.At
	}
	switch e.Action {
	case ActRegister, ActSeal:
		next.State, next.Serial, next.Site, next.Container = f.sealed(e), e.NewSerial, e.Site, e.Container
		if e.NewSerial != "" {
			next.CheckedAt = &e.At
		}
	case ActSend:
		next.State, next.Site, next.Container, next.Carrier = FormInTransit, e.Site, "", e.Carrier
	case ActReceive:
		next.State, next.Site, next.Container, next.Carrier = FormReceived, e.Site, e.Container, ""
	case ActOpen:
		next.State, next.Serial, next.Container = FormOpened, "", ""
	case ActLost:
		next.State, next.Carrier = FormLost, ""
	case ActRetire:
		next.State, next.Carrier = FormRetired, ""
	case ActDestroy:
		next.State, next.Serial, next.Carrier, next.Container = FormDestroyed, "", "", ""
	}
	return &next, nil
}

func (f *ShareForm) sealed(e *CustodyFacts) FormState {
	switch {
	case e.NewSerial == "":
		return FormIssued
	case f.State == FormOpened:
		return FormResealed
	}
	return FormSealed
}

// CustodyError says why something cannot be done to a form as it stands.
type CustodyError struct{ Code, Problem, Remedy string }

func (e *CustodyError) Error() string { return e.Problem }

// checkStep holds an entry against where the form stands.
func (f *ShareForm) checkStep(e *CustodyFacts) error {
	possible := map[CustodyAction]bool{
		ActRegister: f.State == FormUnwitnessed,
		ActSeal:     f.State == FormIssued || f.State == FormOpened,
		ActSend:     f.State.bagged(),
		ActReceive:  f.State == FormInTransit,
		ActOpen:     f.State.bagged(),
		ActCheck:    f.State.bagged(),
		ActLost:     f.State.Live(),
		ActRetire:   f.State.Live() || f.State == FormCompromised,
		ActDestroy:  f.State.Live() || f.State == FormCompromised || f.State == FormRetired || f.State == FormLost,
	}
	if !possible[e.Action] {
		remedy := "look at the register (conclave custody list)"
		if e.Action == ActOpen && f.State == FormOpened {
			remedy = "seal it into a bag with a new serial first: nothing is opened twice"
		}
		return &CustodyError{"form_state", fmt.Sprintf("form %s is %s: %s is not possible", f.ID, f.State, e.Action), remedy}
	}
	return f.checkFields(e)
}

func (f *ShareForm) checkFields(e *CustodyFacts) error {
	places := e.Action == ActRegister || e.Action == ActSeal || e.Action == ActReceive
	reads := e.Action.reads(f)
	only := func(field, value string, wanted bool) error {
		if value != "" && !wanted {
			return &key.FieldError{Field: field, Problem: "given", Allowed: fmt.Sprintf("nothing for %s", e.Action)}
		}
		return nil
	}
	checks := []error{
		key.CheckText("purpose", e.Purpose, 500, false),
		only("new_serial", e.NewSerial, e.Action == ActRegister || e.Action == ActSeal),
		only("serial", e.Read, reads), only("seal", string(e.Seal), reads),
		only("carrier", e.Carrier, e.Action == ActSend), only("site", e.Site, places || e.Action == ActSend), only("container", e.Container, places),
		CheckSerial("new_serial", e.NewSerial, e.Action != ActSeal),
		key.CheckText("site", e.Site, 64, !places && e.Action != ActSend), key.CheckText("container", e.Container, 64, !places),
	}
	if reads {
		checks = append(checks, key.CheckOneOf("seal", e.Seal, SealIntact, SealDamaged, SealMissing), CheckSerial("serial", e.Read, e.Seal == SealMissing))
	}
	if e.Action == ActOpen {
		checks = append(checks, key.CheckID("ceremony", e.Ceremony))
	}
	return key.First(checks)
}

// CheckPlaces holds a form as it would stand against the others (ceremony practice, section 5): no site holds as many
// shares of a set as open it, nobody carries two shares of whatever sets, and a token and its PIN neither travel at the
// same time nor lie in one container. threshold is that of the form's epoch.
func CheckPlaces(next *ShareForm, others []*ShareForm, threshold int) error {
	if !next.State.Live() {
		return nil
	}
	here := map[int]bool{next.Index: true}
	for _, f := range others {
		if f.ID == next.ID || !f.State.Live() {
			continue
		}
		if err := next.meets(f); err != nil {
			return err
		}
		if f.SameSet(next) && f.Site == next.Site && f.Kind != FormPIN {
			here[f.Index] = true
		}
	}
	if next.Kind != FormPIN && len(here) >= threshold {
		return &CustodyError{"quorum_at_one_site", fmt.Sprintf("site %s would hold %d shares of set %s, %d open it", next.Site, len(here), next.Set, threshold),
			"keep it at another site"}
	}
	return nil
}

// meets says what is against a form being where another is.
func (f *ShareForm) meets(g *ShareForm) error {
	if f.Share() != g.Share() {
		if f.Carrier != "" && g.Carrier == f.Carrier {
			return &CustodyError{"two_shares_one_carrier", fmt.Sprintf("%s carries form %s of share %s already", f.Carrier, g.ID, g.Share()), "somebody else carries it, or later"}
		}
		return nil
	}
	pair := f.Kind == FormPIN && g.Kind.needsPIN() || g.Kind == FormPIN && f.Kind.needsPIN()
	switch {
	case !pair:
	case f.State == FormInTransit && g.State == FormInTransit:
		return &CustodyError{"pin_with_token", fmt.Sprintf("form %s, which goes with it, is on its way", g.ID), "send it once the other has arrived"}
	case f.Container != "" && f.Site == g.Site && f.Container == g.Container:
		return &CustodyError{"pin_with_token", fmt.Sprintf("form %s, which goes with it, lies in %s at %s", g.ID, g.Container, g.Site), "keep it in another container"}
	}
	return nil
}
