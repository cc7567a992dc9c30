// Package person is a human at work through the API with nothing but a key file and a pinned trust file. It signs
// only what it has checked: that the statement says what the ceremony shows, for the pinned instance, on the ledger
// that was seen before. Shares never leave it in the clear.
package person

import (
	"conclave/app/client"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// Person acts with their own credentials. All fields are needed.
type Person struct {
	API      *client.Client // opened with Signer
	Signer   *keyfile.Signer
	Trust    *ledger.TrustFile
	StateDir string // keeps the highest checkpoint seen: see client.CheckLedger
	Clock    clock.Clock
	// Opener is the key file that opens shares, where it is another than the one that signs: the backup from the safe,
	// or the device that is being left. nil: Signer.
	Opener *keyfile.Signer
	// Card is a share as it was read from paper, used in place of the sealed one that it is. nil: none. It stays the
	// caller's to wipe.
	Card *shamir.Share
}
