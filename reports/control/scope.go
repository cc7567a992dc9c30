package control

import (
	"slices"
	"strings"

	"conclave/custodian/key"
)

// Scope says which keys a framework is about.
type Scope string

const (
	ScopeAccountData Scope = "account-data" // PCI DSS: keys for account data
	ScopeEPHI        Scope = "ephi"         // HIPAA: keys for electronic protected health information
	ScopeEveryKey    Scope = "every-key"    // frameworks that know no class of data
)

// Known reports whether the scope is one of them.
func (s Scope) Known() bool {
	return slices.Contains([]Scope{ScopeAccountData, ScopeEPHI, ScopeEveryKey}, s)
}

// Covers says that a key is in scope.
func (s Scope) Covers(k key.Key) bool {
	switch s {
	case ScopeAccountData:
		return k.Classification == key.CardholderData || slices.Contains(k.Frameworks, "pci-dss")
	case ScopeEPHI:
		return k.Classification == key.EPHI || slices.Contains(k.Frameworks, "hipaa")
	}
	return true
}

// Keys names the keys in scope, in the plural and within a sentence.
func (s Scope) Keys() string {
	switch s {
	case ScopeAccountData:
		return "keys for account data"
	case ScopeEPHI:
		return "keys for ePHI"
	}
	return "keys"
}

// Title is Keys at the beginning of a sentence.
func (s Scope) Title() string {
	words := s.Keys()
	return strings.ToUpper(words[:1]) + words[1:]
}

// Marked says by what a key shows that it is in scope.
func (s Scope) Marked() string {
	if s == ScopeEPHI {
		return "is classified ephi or lists hipaa among its frameworks"
	}
	return "is classified cardholder-data or lists pci-dss among its frameworks"
}
