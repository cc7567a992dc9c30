package soft

import (
	"crypto/fips140"

	"conclave/hsm"
)

// The Go Cryptographic Module v1.0.0 is the validated one: CMVP certificate 5247, FIPS 140-3 level 1.
const (
	validatedVersion = "v1.0.0"
	certificate      = "5247"
)

// Facts implements hsm.Keystore. The claim is decided at run time, by what the binary really runs.
func (*Keystore) Facts() hsm.Facts { return facts(fips140.Enabled(), fips140.Version()) }

// facts claims FIPS 140-3 level 1 only when the module is in FIPS mode and is the validated version:
// FIPS mode on a plain build runs unvalidated code, and a validated build can have the mode switched off.
func facts(enabled bool, version string) hsm.Facts {
	f := hsm.Facts{
		Driver:  "software",
		Module:  "Go Cryptographic Module " + version,
		Custody: hsm.CustodySelf,
		RNG:     "operating system random source",
	}
	if enabled {
		f.RNG = "CTR_DRBG AES-256 (SP 800-90A)"
	}
	if enabled && version == validatedVersion {
		f.FIPSStandard, f.FIPSLevel, f.Certificate = "140-3", 1, certificate
	}
	return f
}
