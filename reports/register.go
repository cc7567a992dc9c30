package reports

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/reports/control"
	"conclave/reports/control/judge"
)

// RegisterFormat names a register's JSON; it changes when a member changes its meaning.
const RegisterFormat = "conclave-register-1"

// The registers.
const (
	RegisterArchitecture = "architecture" // PCI DSS 4.0.1, 3.6.1.1: the description, and the live inventory of keys and devices
	RegisterCryptography = "cryptography" // 12.3.3: algorithms and protocols in use
	RegisterCustodians   = "custodians"   // who holds what, and accepted it when
	RegisterAccess       = "access"       // 7.2.4: all access, to be gone over and signed
	RegisterCeremonies   = "ceremonies"   // the binder: each ceremony of the period, who, what, when, signed by whom
	RegisterDeclared     = "declared"     // what people declared and nobody can prove here
)

// Registers lists them.
func Registers() []string {
	return []string{RegisterAccess, RegisterArchitecture, RegisterCeremonies, RegisterCryptography, RegisterCustodians, RegisterDeclared}
}

// Register is lists of an instance, at one checkpoint. It judges nothing.
type Register struct {
	Format      string           `json:"format"`
	Register    string           `json:"register"`
	Title       string           `json:"title"`
	Instance    control.Instance `json:"instance"`
	From        time.Time        `json:"from"`
	To          time.Time        `json:"to"`
	AsOf        time.Time        `json:"as_of"`
	GeneratedAt time.Time        `json:"generated_at"`
	Checkpoint  Checkpoint       `json:"checkpoint"`
	Intro       []string         `json:"intro"` // paragraphs
	Parts       []Part           `json:"parts"`
	// Review is the beginning of the command that signs a review of this list; the digest completes it.
	Review string `json:"review,omitempty"`
	// Digest is the SHA-256 of Parts as canonical JSON (RFC 8785), lower-case hex: what a signed review of the list names.
	Digest string `json:"digest"`
}

// Part is one section of a register.
type Part struct {
	Title  string          `json:"title"`
	Text   []string        `json:"text,omitempty"` // paragraphs
	Tables []control.Table `json:"tables,omitempty"`
}

// Development says that the register is of an instance made for trying out.
func (r *Register) Development() bool { return r.Instance.Development() }

// MakeRegister lists. Bad requests are a [*custodian.InputError] that names the field.
func MakeRegister(ctx context.Context, src Source, name string, from, to, now time.Time, progress Progress) (*Register, error) {
	if !slices.Contains(Registers(), name) {
		return nil, &custodian.InputError{Field: "register", Problem: fmt.Sprintf("%q is unknown", clip(name)), Allowed: strings.Join(Registers(), ", ")}
	}
	if err := checkPeriod(from, to, now); err != nil {
		return nil, err
	}
	ev, err := collect(ctx, src, from.UTC(), to.UTC(), reading{progress: progress})
	if err != nil {
		return nil, fmt.Errorf("collecting evidence: %w", err)
	}
	ev.Scope, ev.Whole = control.ScopeEveryKey, true
	r := &Register{Format: RegisterFormat, Register: name, Instance: ev.Instance, From: ev.From, To: ev.To, AsOf: ev.Now, GeneratedAt: now.UTC(), Checkpoint: src.Checkpoint()}
	switch name {
	case RegisterArchitecture:
		r.architecture(ev)
	case RegisterCryptography:
		r.Title = "Cryptographic inventory"
		r.Intro = []string{"Every algorithm and protocol in use, where and for what, how strong, and until when it may stay. It is written out of what is in use now. PCI DSS 4.0.1, 12.3.3 wants it reviewed at least once a year."}
		r.Review = `conclave audit attest --kind review --control pci-dss-4.0.1:12.3.3 --days 365 --reason "yearly review"`
		r.part("Algorithms and protocols", nil, judge.CryptoInventory(ev))
		r.part("Modules and devices", nil, judge.KeystoreInventory(ev))
	case RegisterCustodians:
		r.Title = "Custodian register"
		r.Intro = []string{"Everybody with a part in custody: their roles, the shares that they hold, and until when their signed acceptance of the duty stands (PCI DSS 4.0.1, 3.7.8)."}
		r.part("People", nil, judge.CustodianRegister(ev))
		r.part("Shares and physical forms", nil, judge.Shares(ev), judge.PhysicalForms(ev))
	case RegisterAccess:
		r.Title = "Review of access"
		r.Intro = []string{"All access in force: people by their roles, applications by their grants and tokens. Go over each line: is it still needed, is it no more than the job needs, is its holder still there? What should end is ended by ceremony (role.change, grant.revoke, token.revoke).",
			"Then sign. PCI DSS 4.0.1, 7.2.4 wants it at least every six months, with management's acknowledgement."}
		r.Review = `conclave audit attest --kind review --control pci-dss-4.0.1:7.2.4 --days 183 --reason "review of access"`
		r.part("Access", nil, judge.AccessRegister(ev), judge.TokenRegister(ev))
	case RegisterCeremonies:
		if err := r.binder(ctx, src, ev); err != nil {
			return nil, err
		}
	case RegisterDeclared:
		r.Title = "Declared, not proven"
		r.Intro = []string{"Keys that live elsewhere, paper forms and history from before this instance, as people declared them. Nothing here can be proven by this service; it is on record who said so, when, and until when it counts."}
		r.part("Declarations", nil, judge.Declared(ev))
	}
	r.doubt(ev.Damaged)
	return r, r.seal()
}

// maxNamed is how many damaged rows a register names.
const maxNamed = 20

// doubt says which rows are missing in the lists, because they contradict the ledger.
func (r *Register) doubt(damaged []control.Ref) {
	if len(damaged) == 0 {
		return
	}
	var names []string
	for _, ref := range damaged[:min(maxNamed, len(damaged))] {
		names = append(names, ref.Kind+" "+ref.ID)
	}
	r.Intro = append(r.Intro, fmt.Sprintf("Rows in the database that contradict the ledger, and were left out here: %d (%s). What they say is not known until they are restored from the ledger.", len(damaged), strings.Join(names, ", ")))
}

func (r *Register) part(title string, text []string, tables ...*control.Table) {
	p := Part{Title: title, Text: text}
	for _, t := range tables {
		p.Tables = append(p.Tables, *t)
	}
	r.Parts = append(r.Parts, p)
}

func (r *Register) seal() error {
	raw, err := canonicalJSON(r.Parts)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	r.Digest = hex.EncodeToString(sum[:])
	return nil
}

// JSON is the register as canonical JSON (RFC 8785).
func (r *Register) JSON() ([]byte, error) { return canonicalJSON(r) }

// canonicalJSON encodes a value as RFC 8785 JSON.
func canonicalJSON(v any) ([]byte, error) {
	raw, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding evidence: %w", err)
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return nil, fmt.Errorf("canonicalising evidence: %w", err)
	}
	return value, nil
}

// architecture describes what is there, from the rows: nothing in it is kept by hand.
func (r *Register) architecture(ev *control.Evidence) {
	r.Title = "Cryptographic architecture and inventory of keys"
	r.Intro = []string{"The description that PCI DSS 4.0.1, 3.6.1.1 asks of service providers, as it is now: how keys are guarded, every key with algorithm, strength, use and expiry, every device with type and location, and proof that production and test share no key.",
		"Data keys are made for applications by keys of this service and wrapped by them; the service keeps none of them. A key lives in a keystore. A keystore does nothing until custodians bring shares of its activation secret; the secret itself is stored nowhere. All that is done is recorded in a signed Merkle log before it is answered."}
	guards := control.NewTable("What guards the keys of each keystore", control.Column{Name: "keystore", Type: control.ID}, control.Column{Name: "keys are", Type: control.Text},
		control.Column{Name: "activated by", Type: control.Text}, control.Column{Name: "location", Type: control.Text}, control.Column{Name: "key versions", Type: control.Integer})
	for _, ks := range ev.Keystores {
		if ks.Value.RegisteredAt.After(ev.Now) {
			continue
		}
		form, by, proof := "wrapped in the database under the keystore's activation secret", "nobody: it needs no secret", control.Proves(ks.Ref)
		if ks.Value.Capabilities.StoresKeys {
			form = "inside the device, and never leave it"
			if ks.Value.Simulated {
				form = "inside a simulated device, which is none: for trying out only"
			}
		}
		if set := ev.ShareSet(ks.Value.ShareSet); set != nil {
			proof.Rows = append(proof.Rows, set.Ref)
			by = fmt.Sprintf("%d of %d custodians (%s)", set.Value.Threshold, set.Value.Total, set.Value.ID)
		}
		held := 0
		for _, v := range ev.Versions {
			if v.Value.Keystore == ks.Value.ID && !v.Value.GeneratedAt.After(ev.Now) && control.StateAt(v.Value, ev.Now) != "destroyed" {
				held++
			}
		}
		guards.Note(control.Info, "", proof, ks.Value.ID, form, by, ks.Value.Location, control.Int(held))
	}
	shared := judge.Architecture(context.Background(), ev)
	r.part("How keys are guarded", nil, guards)
	r.part("Keys", []string{shared.Summary}, judge.KeyInventory(ev))
	r.part("Devices and modules", nil, judge.KeystoreInventory(ev))
	r.part("Which application uses which key", nil, judge.ApplicationAccess(ev))
	r.part("Algorithms and protocols", nil, judge.CryptoInventory(ev))
	r.part("Keys that live elsewhere, as declared", nil, judge.Declared(ev))
	r.part("Who is who", nil, judge.WhoIsWho(ev))
}
