package key

import (
	"fmt"
	"slices"
	"time"

	"conclave/hsm"
)

// Bounds of keystores (ours, but for the level: DESIGN invariant 5).
const (
	// NoExportLevel is the FIPS level from which on a keystore never exports.
	NoExportLevel = 3
	MaxKeysBound  = 100_000_000
)

// SetFacts records what a driver proves about itself now; a record never claims more than that. Of a device whose
// validation is declared, the claim, custody and tenancy are left as the ceremony has them.
func (s *Keystore) SetFacts(driver hsm.Keystore) {
	f := driver.Facts()
	if !f.Declared {
		s.FIPSStandard, s.FIPSLevel, s.Certificate = f.FIPSStandard, f.FIPSLevel, f.Certificate
		s.Custody = f.Custody
	}
	if s.Certificate != "" && s.CertificateStatus == "" {
		s.CertificateStatus = CertActive
	}
	if s.Make == "" {
		s.Make = f.Module
	}
	s.SetCapabilities(driver.Capabilities())
	s.setDevice(driver)
}

// setDevice pins the record to the device that its driver found.
func (s *Keystore) setDevice(driver hsm.Keystore) {
	if device, ok := driver.(hsm.Initialiser); ok && s.Token != nil {
		s.Token = &Token{Module: s.Token.Module, Device: device.Device(), InitialisedAt: s.Token.InitialisedAt, InitialisedBy: s.Token.InitialisedBy}
	}
}

// Initialised reports whether a keystore can be activated: a token has to be taken over first.
func (s *Keystore) Initialised() bool { return s.Token == nil || s.Token.InitialisedAt != nil }

// validateToken checks which device the record names.
func (s *Keystore) validateToken() error {
	if s.Token == nil {
		return nil
	}
	d := s.Token.Device
	checks := []error{
		CheckID("token.module", s.Token.Module),
		CheckText("token.label", d.Label, 32, true),
		CheckText("token.serial", d.Serial, 16, true),
		CheckText("token.manufacturer", d.Manufacturer, 32, true),
		CheckText("token.model", d.Model, 32, true),
		CheckText("token.firmware", d.Firmware, 32, true),
	}
	if d.Label == "" && d.Serial == "" {
		checks = append(checks, &FieldError{"token", "neither label nor serial number", "either or both"})
	}
	return First(checks)
}

// SetCapabilities records what a driver can make, less what the record's level forbids.
func (s *Keystore) SetCapabilities(c hsm.Capabilities) {
	s.Capabilities = c
	s.Capabilities.Export = c.Export && s.FIPSLevel < NoExportLevel
}

// StatusAt is the status of the certificate at an instant: an active one is historical from its sunset on, whether or
// not anybody has recorded that.
func (s *Keystore) StatusAt(at time.Time) string {
	if s.CertificateStatus == CertActive && !s.CertificateUntil.IsZero() && !at.Before(s.CertificateUntil) {
		return CertHistorical
	}
	return s.CertificateStatus
}

// Tenants is whether others' keys live in it too. A record that does not say counts as shared, but for a keystore that
// the organisation runs itself.
func (s *Keystore) Tenants() string {
	switch {
	case s.Tenancy != "":
		return s.Tenancy
	case s.Custody == hsm.CustodySelf || s.Custody == hsm.CustodyHYOK:
		return SingleTenant
	}
	return MultiTenant
}

// Within is the record cut down to what its driver proves now, and what it claims beyond that, in words. What a device
// cannot prove is the record's to say. The record itself is not changed.
func (s *Keystore) Within(driver hsm.Keystore) (*Keystore, []string) {
	own := *s
	out, f, can := &own, driver.Facts(), driver.Capabilities()
	var beyond []string
	if !f.Declared {
		if s.FIPSLevel > f.FIPSLevel || s.FIPSLevel > 0 && (s.FIPSStandard != f.FIPSStandard || s.Certificate != f.Certificate) {
			beyond = append(beyond, fmt.Sprintf("the record claims FIPS %s level %d by certificate %s, the driver proves %s", s.FIPSStandard, s.FIPSLevel, s.Certificate, proves(f)))
			out.FIPSStandard, out.FIPSLevel, out.Certificate, out.CertificateStatus = f.FIPSStandard, f.FIPSLevel, f.Certificate, ""
			if f.Certificate == s.Certificate {
				out.CertificateStatus = s.CertificateStatus
			}
		}
		if s.Custody != f.Custody {
			beyond = append(beyond, fmt.Sprintf("the record says that custody is %s, the driver that it is %s", s.Custody, f.Custody))
			out.Custody = f.Custody
		}
	}
	makes, claims := can.Makes(), s.Capabilities.Makes()
	out.Capabilities.Specs = nil
	var missing []hsm.Spec
	for _, spec := range claims {
		if slices.Contains(makes, spec) {
			out.Capabilities.Specs = append(out.Capabilities.Specs, spec)
		} else {
			missing = append(missing, spec)
		}
	}
	if len(missing) > 0 {
		beyond = append(beyond, fmt.Sprintf("the record says that it makes %v, the driver does not", missing))
	}
	if s.Capabilities.KeyStrength > can.KeyStrength {
		beyond = append(beyond, fmt.Sprintf("the record says that keys are protected by %d bits, the driver %d", s.Capabilities.KeyStrength, can.KeyStrength))
	}
	out.Capabilities.KeyStrength = min(s.Capabilities.KeyStrength, can.KeyStrength)
	if len(out.Capabilities.Specs) == 0 { // none at all, which the list by itself cannot say
		out.Capabilities.KeyStrength = 0
	}
	out.Capabilities.Export = s.Capabilities.Export && can.Export
	return out, beyond
}

func proves(f hsm.Facts) string {
	if f.FIPSLevel == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s level %d by certificate %s", f.FIPSStandard, f.FIPSLevel, f.Certificate)
}
