package key

import "conclave/hsm"

// SetFacts records what a driver proves about itself now; a record never claims more than that.
func (s *Keystore) SetFacts(driver hsm.Keystore) {
	f := driver.Facts()
	s.FIPSStandard, s.FIPSLevel, s.Certificate = f.FIPSStandard, f.FIPSLevel, f.Certificate
	if s.Certificate != "" {
		s.CertificateStatus = CertActive
	}
	if s.Make == "" {
		s.Make = f.Module
	}
	s.Custody, s.Capabilities = f.Custody, driver.Capabilities()
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
