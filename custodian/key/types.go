package key

import (
	"slices"

	"conclave/hsm"
)

// Type is the key type of SP 800-57 Part 1 Rev 5, section 5.1.1; it decides the cryptoperiod (Table 1),
// the operations that fit, and what happens at the end of the originator usage period.
type Type string

// The nineteen key types of SP 800-57 Part 1 Rev 5, Table 1.
const (
	PrivateSignature       Type = "private-signature"
	PublicVerification     Type = "public-signature-verification"
	SymmetricAuth          Type = "symmetric-authentication"
	PrivateAuth            Type = "private-authentication"
	PublicAuth             Type = "public-authentication"
	DataEncryption         Type = "symmetric-data-encryption"
	KeyWrapping            Type = "symmetric-key-wrapping"
	RandomGeneration       Type = "symmetric-rbg"
	Master                 Type = "symmetric-master-or-derivation"
	PrivateTransport       Type = "private-key-transport"
	PublicTransport        Type = "public-key-transport"
	SymmetricAgreement     Type = "symmetric-key-agreement"
	PrivateStaticAgreement Type = "private-static-key-agreement"
	PublicStaticAgreement  Type = "public-static-key-agreement"
	PrivateEphemeral       Type = "private-ephemeral-key-agreement"
	PublicEphemeral        Type = "public-ephemeral-key-agreement"
	SymmetricAuthorisation Type = "symmetric-authorization"
	PrivateAuthorisation   Type = "private-authorization"
	PublicAuthorisation    Type = "public-authorization"
)

// Disposition is what the end of the originator usage period brings.
type Disposition string

const (
	// SetD types are destroyed at the end of their originator usage period (T5, T9).
	SetD Disposition = "destroyed"
	// SetK types are kept, deactivated, for processing until the recipient usage period ends (T8, T12).
	SetK Disposition = "deactivated"
)

const year = 365 // days

// typeRule is one row of SP 800-57 Part 1 Rev 5 Table 1, with the operations that fit the type.
type typeRule struct {
	atEnd      Disposition
	maxOUP     int  // days; 0: Table 1 gives no period that this service could enforce
	rupBeyond  int  // days that the recipient usage period may outlast the originator usage period
	pair       bool // one half of a key pair
	operations []Operation
}

// rule returns the row of a type; false for a type that Table 1 does not know. A function and not a map,
// so that nothing can change the table.
func (t Type) rule() (typeRule, bool) {
	agreement := []Operation{DeriveProtect, DeriveProcess}
	mac := []Operation{MACCreate, MACVerify}
	switch t {
	case PrivateSignature:
		// Table 1 gives the public half "several years, depends on key size"; ten beyond the private one's are ours.
		return typeRule{SetD, 3 * year, 10 * year, true, []Operation{Sign}}, true
	case PublicVerification:
		return typeRule{SetK, 0, 0, true, []Operation{Verify}}, true
	case SymmetricAuth:
		return typeRule{SetK, 2 * year, 3 * year, false, mac}, true
	case PrivateAuth:
		return typeRule{SetD, 2 * year, 0, true, []Operation{Sign}}, true
	case PublicAuth:
		return typeRule{SetK, 2 * year, 0, true, []Operation{Verify}}, true
	case DataEncryption:
		return typeRule{SetK, 2 * year, 3 * year, false, []Operation{Encrypt, Decrypt}}, true
	case KeyWrapping:
		// Direct encryption with a key-wrapping key is bounded, or switched off, by policy.
		return typeRule{SetK, 2 * year, 3 * year, false, []Operation{Wrap, Unwrap, Encrypt, Decrypt}}, true
	case RandomGeneration:
		return typeRule{SetD, 0, 0, false, []Operation{DeriveProtect}}, true
	case Master:
		return typeRule{SetD, year, 0, false, agreement}, true
	case PrivateTransport:
		return typeRule{SetK, 2 * year, 3 * year, true, []Operation{Unwrap}}, true
	case PublicTransport:
		return typeRule{SetK, 2 * year, 0, true, []Operation{Wrap}}, true
	case SymmetricAgreement:
		return typeRule{SetK, 2 * year, 0, false, agreement}, true
	case PrivateStaticAgreement, PublicStaticAgreement:
		return typeRule{SetK, 2 * year, 0, true, agreement}, true
	case PrivateEphemeral, PublicEphemeral:
		return typeRule{SetD, 1, 0, true, agreement}, true
	case SymmetricAuthorisation:
		return typeRule{SetD, 2 * year, 0, false, mac}, true
	case PrivateAuthorisation:
		return typeRule{SetD, 2 * year, 0, true, []Operation{Sign}}, true
	case PublicAuthorisation:
		return typeRule{SetK, 2 * year, 0, true, []Operation{Verify}}, true
	}
	return typeRule{}, false
}

// AtEnd is what the end of the originator usage period brings; "" for an unknown type.
func (t Type) AtEnd() Disposition {
	r, _ := t.rule()
	return r.atEnd
}

// Pair reports whether keys of this type are one half of a pair, whose halves change state together.
func (t Type) Pair() bool {
	r, _ := t.rule()
	return r.pair
}

// PublicHalf is the type of the other half of a pair, "" for types that are no private half.
func (t Type) PublicHalf() Type {
	switch t {
	case PrivateSignature:
		return PublicVerification
	case PrivateAuth:
		return PublicAuth
	case PrivateTransport:
		return PublicTransport
	case PrivateStaticAgreement:
		return PublicStaticAgreement
	case PrivateEphemeral:
		return PublicEphemeral
	case PrivateAuthorisation:
		return PublicAuthorisation
	}
	return ""
}

// Specs lists what keys of a type can be, none for types that this service does not make.
func (t Type) Specs() []hsm.Spec {
	var kind hsm.Kind
	switch t {
	case DataEncryption, KeyWrapping:
		kind = hsm.Seals
	case SymmetricAuth:
		kind = hsm.MACs
	case PrivateSignature:
		kind = hsm.Signs
	case PrivateTransport:
		kind = hsm.Deciphers
	default:
		return nil
	}
	return slices.DeleteFunc(hsm.Specs(), func(s hsm.Spec) bool { return s.Kind() != kind })
}

// Made lists the types of the keys that this service makes. A pair is one record, of the type of its private half.
func Made() []Type {
	return []Type{DataEncryption, KeyWrapping, SymmetricAuth, PrivateSignature, PrivateTransport}
}

// TypeFor is the type of a new key of a specification where nobody says otherwise.
func TypeFor(spec hsm.Spec) Type {
	switch spec.Kind() {
	case hsm.MACs:
		return SymmetricAuth
	case hsm.Signs:
		return PrivateSignature
	case hsm.Deciphers:
		return PrivateTransport
	}
	return DataEncryption
}

// Permits reports whether an operation fits the type: single use of a key, SP 800-57 Part 1 section 5.2.
// Key confirmation and wrapped export fit every known type.
func (t Type) Permits(op Operation) bool {
	r, known := t.rule()
	if !known {
		return false
	}
	return op == Confirm || op == ExportWrapped || slices.Contains(r.operations, op)
}

// MaxOUPDays is the longest originator usage period of the type in days; 0 where Table 1 sets none.
func (t Type) MaxOUPDays() int {
	r, _ := t.rule()
	return r.maxOUP
}

// MaxRUPDays is the longest recipient usage period, in days from activation, for an originator usage
// period of oup days (Table 1: "≤ OUP + 3 years" for the symmetric types).
func (t Type) MaxRUPDays(oup int) int {
	r, _ := t.rule()
	return oup + r.rupBeyond
}
