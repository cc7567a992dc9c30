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
}
