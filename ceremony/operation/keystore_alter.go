package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// keystoreAlterParams: what is left out stays as it is; "" takes away what may be absent.
type keystoreAlterParams struct {
	Keystore          string            `json:"keystore"`
	FIPSStandard      *string           `json:"fips_standard,omitzero"`
	FIPSLevel         *int              `json:"fips_level,omitzero"`
	Certificate       *string           `json:"certificate,omitzero"`
	CertificateStatus *string           `json:"certificate_status,omitzero"`
	CertificateFrom   *string           `json:"certificate_from,omitzero"` // a day, 2006-01-02
	CertificateUntil  *string           `json:"certificate_until,omitzero"`
	Custody           *hsm.CustodyModel `json:"custody,omitzero"`
	Tenancy           *string           `json:"tenancy,omitzero"`
	Jurisdiction      *string           `json:"jurisdiction,omitzero"`
	Environment       *string           `json:"environment,omitzero"`
	Location          *string           `json:"location,omitzero"`
	Controller        *string           `json:"controller,omitzero"`
	Make              *string           `json:"make,omitzero"`
	Model             *string           `json:"model,omitzero"`
	Simulated         *bool             `json:"simulated,omitzero"`
	MaxKeys           *int              `json:"max_keys,omitzero"`
	// Specs are the keys that can be made, of those that the driver makes; all that it can besides is recorded anew.
	Specs  []hsm.Spec `json:"specs,omitzero"`
	Reason string     `json:"reason,omitzero"`
	// Strands is what becomes of keys that stand worse afterwards; filled in when it is proposed, so that it is signed.
	Strands *strands `json:"strands,omitzero"`
}

// keystoreAlter changes the facts by which a keystore is judged, and its bounds. It may claim no more than its driver
// proves, where that proves anything.
type keystoreAlter struct{}

func (keystoreAlter) Name() string { return "keystore.alter" }

// alteration is a keystore as it is and as it would be.
type alteration struct {
	params        *keystoreAlterParams
	before, after *key.Keystore
	reason        string
	beyond        []string // what it would newly claim and its driver does not prove
}

func (keystoreAlter) read(env Env, view *store.View, in Input) (*alteration, error) {
	p, err := decode[keystoreAlterParams](in)
	if err != nil {
		return nil, err
	}
	c := &alteration{params: &p}
	if c.reason, err = why("reason", p.Reason, in); err != nil {
		return nil, err
	}
	if c.before, err = keystoreRow(view, "keystore", p.Keystore); err != nil {
		return nil, err
	}
	own := *c.before
	c.after = &own
	if err := p.apply(c.after); err != nil {
		return nil, err
	}
	if err := p.simulation(c.before, c.after, in); err != nil {
		return nil, err
	}
	if p.Controller != nil {
		if _, err := presentPerson(view, "controller", *p.Controller); err != nil {
			return nil, err
		}
	}
	return c, c.bound(env)
}

// bound takes in what the driver can make, and holds the record against what it proves.
func (c *alteration) bound(env Env) error {
	driver, err := Driver(env, c.before)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if driver == nil && len(c.params.Specs) > 0 {
		return &custodian.InputError{Field: "specs", Problem: "this node has no driver of keystore " + c.before.ID, Allowed: "where its driver runs"}
	}
	if len(c.params.Specs) > 0 {
		can := driver.Capabilities()
		for i, spec := range c.params.Specs {
			if err := key.CheckOneOf(fmt.Sprintf("specs[%d]", i), spec, can.Makes()...); err != nil {
				return err
			}
		}
		can.Specs = c.params.Specs
		c.after.Capabilities = can
	}
	c.after.SetCapabilities(c.after.Capabilities)
	if driver != nil {
		_, already := c.before.Within(driver)
		_, beyond := c.after.Within(driver)
		c.beyond = slices.DeleteFunc(beyond, func(b string) bool { return slices.Contains(already, b) })
	}
	return c.after.Validate()
}

func (p *keystoreAlterParams) apply(to *key.Keystore) error {
	set(p.FIPSStandard, &to.FIPSStandard)
	set(p.FIPSLevel, &to.FIPSLevel)
	if p.Certificate != nil && *p.Certificate != to.Certificate { // what is on record of the one before says nothing of this one
		to.CertificateStatus, to.CertificateFrom, to.CertificateUntil = "", time.Time{}, time.Time{}
		if to.Certificate = *p.Certificate; to.Certificate != "" {
			to.CertificateStatus = key.CertActive
		}
	}
	set(p.CertificateStatus, &to.CertificateStatus)
	set(p.Custody, &to.Custody)
	set(p.Tenancy, &to.Tenancy)
	set(p.Jurisdiction, &to.Jurisdiction)
	set(p.Environment, &to.Environment)
	set(p.Location, &to.Location)
	set(p.Controller, &to.Controller)
	set(p.Make, &to.Make)
	set(p.Model, &to.Model)
	set(p.Simulated, &to.Simulated)
	set(p.MaxKeys, &to.MaxKeys)
	return key.First([]error{setDay("certificate_from", p.CertificateFrom, &to.CertificateFrom), setDay("certificate_until", p.CertificateUntil, &to.CertificateUntil)})
}

func set[T any](value, field *T) {
	if value != nil {
		*field = *value
	}
}

func setDay(name string, value *string, field *time.Time) error {
	if value == nil {
		return nil
	}
	if *value == "" {
		*field = time.Time{}
		return nil
	}
	day, err := time.Parse(time.DateOnly, *value)
	if err != nil {
		return &key.FieldError{Field: name, Problem: clean(*value), Allowed: "a day as 2006-01-02, or nothing for none"}
	}
	*field = day
	return nil
}

// simulation: claims of a simulator are for development, and a simulator never becomes a device by its record alone.
func (p *keystoreAlterParams) simulation(before, after *key.Keystore, in Input) error {
	switch {
	case before.Simulated && !after.Simulated:
		return &key.FieldError{Field: "simulated", Problem: "false", Allowed: "a simulator stays one: register the device itself"}
	case after.Simulated && !before.Simulated && in.Instance.Mode != custodian.Development:
		return &key.FieldError{Field: "simulated", Problem: "true", Allowed: "in development mode only"}
	}
	return nil
}

// Pin writes into the parameters which keys would stand worse, so that signatures cover it.
func (o keystoreAlter) Pin(ctx context.Context, env Env, view *store.View, in Input) ([]byte, error) {
	c, err := o.read(env, view, in)
	if err != nil {
		return nil, err
	}
	changes, err := strandedBy(ctx, env, view, c.after)
	if err != nil {
		return nil, err
	}
	return pinStrands(changes, c.params.Strands, func(s *strands) any {
		c.params.Strands = s
		return c.params
	})
}

func (o keystoreAlter) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	c, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(c.before, fmt.Sprintf("Change what is on record of keystore %s", c.before.ID))
	facts := c.lines()
	plan.Lines = append(plan.Lines, facts...)
	if len(facts) == 0 {
		plan.Deny = append(plan.Deny, refusal("no_change", "nothing would change", "name what is to be different"))
	}
	if c.before.Status != key.KeystoreRegistered {
		plan.Deny = append(plan.Deny, refusal("keystore_retired", "keystore "+c.before.ID+" is "+c.before.Status, "its record stays as it is"))
	}
	plan.Deny = append(plan.Deny, c.inGroup(facts)...)
	for _, b := range c.beyond {
		plan.Deny = append(plan.Deny, refusal("claims_beyond_proof", b, "claim what the driver proves, or less"))
	}
	changes, err := strandedBy(ctx, env, view, c.after)
	if err != nil {
		return Plan{}, err
	}
	lines, deny := strandLines(changes, c.params.Strands)
	plan.Lines, plan.Deny = append(plan.Lines, lines...), append(plan.Deny, deny...)
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: c.reason})
	if c.after.Controller != c.before.Controller { // who takes over, and who hands over, do not decide it
		plan.Subjects = []string{c.before.Controller, c.after.Controller}
	}
	return plan, nil
}

// inGroup refuses facts of a group, which are its members', and such of a member as would set it apart from the others.
func (c *alteration) inGroup(facts []Line) []policies.Reason {
	own := []string{"location", "controller", "bound", "makes keys", "can besides"}
	for _, l := range facts {
		if c.before.Group != nil && !slices.Contains(own, l.Label) {
			return []policies.Reason{refusal("group_facts", "the "+l.Label+" of a group is that of its weakest member", "change its members (keystore.alter)")}
		}
	}
	if c.before.MemberOf != "" && (c.after.Environment != c.before.Environment || c.after.Custody != c.before.Custody) {
		return []policies.Reason{refusal("group_differs", "members of group "+c.before.MemberOf+" are alike in environment and custody model", "remove it from the group first (group.remove)")}
	}
	return nil
}

func (c *alteration) lines() []Line {
	b, a := c.before, c.after
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.DateOnly)
	}
	bound := func(n int) string {
		if n == 0 {
			return "none"
		}
		return amount.Of(n, "key version")
	}
	makes := func(k *key.Keystore) string { return list(k.Capabilities.Makes()) }
	return changes([][3]string{
		{"FIPS standard", b.FIPSStandard, a.FIPSStandard}, {"FIPS level", fmt.Sprint(b.FIPSLevel), fmt.Sprint(a.FIPSLevel)},
		{"certificate", b.Certificate, a.Certificate}, {"certificate status", b.CertificateStatus, a.CertificateStatus},
		{"validated on", day(b.CertificateFrom), day(a.CertificateFrom)}, {"certificate's sunset", day(b.CertificateUntil), day(a.CertificateUntil)},
		{"custody model", string(b.Custody), string(a.Custody)}, {"tenancy", b.Tenants(), a.Tenants()},
		{"jurisdiction", b.Jurisdiction, a.Jurisdiction}, {"environment", b.Environment, a.Environment}, {"location", b.Location, a.Location},
		{"controller", b.Controller, a.Controller}, {"make", b.Make, a.Make}, {"model", b.Model, a.Model},
		{"simulated", fmt.Sprint(b.Simulated), fmt.Sprint(a.Simulated)}, {"bound", bound(b.MaxKeys), bound(a.MaxKeys)},
		{"makes keys", makes(b), makes(a)},
		{"can besides", abilities(b.Capabilities), abilities(a.Capabilities)},
	})
}

func abilities(c hsm.Capabilities) string {
	return fmt.Sprintf("protects keys by %d bits, messages up to %d bytes, export %t, destroys %t, stores keys %t", c.KeyStrength, c.MaxMessage, c.Export, c.Destroy, c.StoresKeys)
}

func (o keystoreAlter) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	c, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if len(c.beyond) > 0 {
		return Result{}, errors.New(strings.Join(c.beyond, "; "))
	}
	a := act(env, tx, in, c.reason)
	c.after.GovRevision++
	changed := []string{}
	for _, l := range c.lines() {
		changed = append(changed, fmt.Sprintf("%s: %s → %s", l.Label, l.Before, l.After))
	}
	e := a.event("keystore.alter", ledger.Target{Type: "keystore", ID: c.after.ID}, map[string]any{"changed": changed, "strands": c.params.Strands})
	if err := a.put(tx, custodian.KindKeystore, c.after.ID, c.after, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"keystore": c.after.ID, "changed": changed, "strands": c.params.Strands}), nil
}
