package key

import (
	"fmt"
	"regexp"
	"slices"

	"conclave/hsm"
)

// Environments, frameworks and keystore states that the records know.
const (
	Production         = "production"
	Test               = "test"
	PCIDSS             = "pci-dss"
	HIPAA              = "hipaa"
	KeystoreRegistered = "registered"
	KeystoreRetired    = "retired"
	KeystoreZeroised   = "zeroised" // every key in it was destroyed; retired with that
	CertActive         = "active"
	CertHistorical     = "historical"
	CertRevoked        = "revoked"
	// CertSimulated stands for the certificate number of a simulator, which has none.
	CertSimulated = "SIMULATED"
	SingleTenant  = "single"
	MultiTenant   = "multi"
)

// Classifications returns the known classes, least sensitive first.
func Classifications() []Classification {
	return []Classification{Public, Internal, Confidential, Restricted, CardholderData, EPHI}
}

// Validate checks the record and names the first field that is wrong (*FieldError). Whether a key may live
// in its keystore, and for how long, is for policy; here stand the bounds that no policy may pass.
func (k *Key) Validate() error {
	checks := []error{
		CheckID("id", k.ID),
		CheckText("label", k.Label, 128, false),
		CheckOneOf("type", k.Type, Made()...),
		CheckOneOf("algorithm", k.Specification(), k.Type.Specs()...),
		CheckOneOf("classification", k.Classification, Classifications()...),
		CheckOneOf("impact", k.Impact, Low, Moderate, High),
		checkFrameworks(k.Frameworks),
		checkJurisdiction("jurisdiction", k.Jurisdiction),
		CheckOneOf("environment", k.Environment, Production, Test),
		CheckID("owner", k.Owner),
		CheckText("purpose", k.Purpose, 256, true),
		CheckID("keystore", k.Keystore),
		checkCustody("custody", k.Custody),
		CheckOneOf("origin", k.Origin, Origins()...),
		CheckRange("oup_days", k.OUPDays, 1, k.Type.MaxOUPDays(), "days for this key type (SP 800-57 Part 1, Table 1)"),
		CheckRange("rup_days", k.RUPDays, k.OUPDays, k.Type.MaxRUPDays(k.OUPDays),
			"days, from the originator usage period to as far beyond it as the key type allows (SP 800-57 Part 1, Table 1)"),
		CheckRange("rotate_days", k.RotateDays, 1, k.OUPDays, "days, within the originator usage period"),
	}
	if k.Current > k.Versions {
		checks = append(checks, &FieldError{"current", fmt.Sprintf("%d", k.Current), fmt.Sprintf("0 to %d, the versions made", k.Versions)})
	}
	return First(checks)
}

// Validate checks the record and names the first field that is wrong (*FieldError).
func (s *Keystore) Validate() error {
	checks := []error{
		CheckID("id", s.ID),
		CheckID("driver", s.Driver),
		CheckText("make", s.Make, 128, true),
		CheckText("model", s.Model, 128, true),
		CheckOneOf("fips_standard", s.FIPSStandard, "", "140-2", "140-3"),
		CheckRange("fips_level", s.FIPSLevel, 0, 4, "(0: no claim)"),
		CheckText("certificate", s.Certificate, 32, true),
		CheckOneOf("certificate_status", s.CertificateStatus, "", CertActive, CertHistorical, CertRevoked),
		CheckOneOf("custody", s.Custody, hsm.CustodyModels()...),
		CheckOneOf("tenancy", s.Tenancy, "", SingleTenant, MultiTenant),
		CheckRange("max_keys", s.MaxKeys, 0, MaxKeysBound, "key versions; 0: no bound"),
		checkJurisdiction("jurisdiction", s.Jurisdiction),
		CheckOneOf("environment", s.Environment, Production, Test),
		CheckText("location", s.Location, 128, false),
		CheckID("controller", s.Controller),
		CheckOneOf("status", s.Status, KeystoreRegistered, KeystoreRetired, KeystoreZeroised),
	}
	if s.ShareSet != "" {
		checks = append(checks, CheckID("share_set", s.ShareSet))
	}
	return First(append(checks, s.validateToken(), s.validateClaim(), s.validateGroup()))
}

// validateClaim checks what the record claims of a validation: all of it, or nothing.
func (s *Keystore) validateClaim() error {
	claims := s.FIPSLevel > 0
	switch {
	case claims && (s.FIPSStandard == "" || s.Certificate == ""):
		return &FieldError{"fips_level", "a claim without standard or certificate number", "0, or a level with fips_standard and certificate"}
	case s.Simulated && claims && s.Certificate != CertSimulated:
		return &FieldError{"certificate", "a simulator has no certificate", CertSimulated}
	case !s.Simulated && s.Certificate == CertSimulated:
		return &FieldError{"certificate", CertSimulated, "the number of a CMVP certificate, or a keystore that is recorded as simulated"}
	case s.Certificate == "" && (s.CertificateStatus != "" || !s.CertificateFrom.IsZero() || !s.CertificateUntil.IsZero()):
		return &FieldError{"certificate_status", "status or dates without a certificate", "none, or the certificate's number with them"}
	case !s.CertificateFrom.IsZero() && !s.CertificateUntil.IsZero() && !s.CertificateFrom.Before(s.CertificateUntil):
		return &FieldError{"certificate_until", "not after certificate_from", "a later day"}
	case s.FIPSLevel >= NoExportLevel && s.Capabilities.Export:
		return &FieldError{"capabilities", fmt.Sprintf("a keystore of level %d that exports", s.FIPSLevel), fmt.Sprintf("no export from level %d up", NoExportLevel)}
	}
	return nil
}

// checkCustody checks a demand for custody models.
func checkCustody(field string, models []hsm.CustodyModel) error {
	for i, m := range models {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := CheckOneOf(at, m, hsm.CustodyModels()...); err != nil {
			return err
		}
		if slices.Contains(models[:i], m) {
			return &FieldError{at, fmt.Sprintf("%q repeats", m), "each model once"}
		}
	}
	return nil
}

func checkFrameworks(frameworks []string) error {
	for i, f := range frameworks {
		field := fmt.Sprintf("frameworks[%d]", i)
		if err := CheckOneOf(field, f, PCIDSS, HIPAA); err != nil {
			return err
		}
		if slices.Contains(frameworks[:i], f) {
			return &FieldError{field, fmt.Sprintf("%q repeats", f), "each framework once"}
		}
	}
	return nil
}

// checkJurisdiction accepts ISO 3166-1 alpha-2 codes and short names of regions that policy knows.
func checkJurisdiction(field, j string) error {
	ok, err := regexp.MatchString(`^([A-Z]{2}|any|[A-Z][A-Z0-9-]{1,15})$`, j)
	if err != nil || !ok {
		return &FieldError{field, fmt.Sprintf("%q", clip(j)), `an ISO 3166-1 alpha-2 code, a region in capitals such as "EU", or "any"`}
	}
	return nil
}
