package policies

import (
	"fmt"
	"slices"
)

// The floor: what no policy can go below, compiled in. It says which classes an operation may have and how
// many people each class takes at least. The tables of the bundle may ask for more, never for less.

const day = 24 * 60 * 60

// Bounds in seconds.
const (
	reviewWithin      = 1 * day  // protective operations are reviewed within 24 h
	destroyWaitLeast  = 7 * day  // keystates T13
	destroyWaitMost   = 30 * day // longer only keeps a key that should be gone
	breakGlassLongest = day / 6  // 4 h
	longest           = 90 * day // of any wait or expiry: what nobody remembers approving does not happen
)

// LeastApprovals is the number of humans other than the requester that a governed operation needs.
func LeastApprovals(mode Mode) int {
	if mode == Development {
		return 1
	}
	return 2
}

// allowance is the classes that some operations may have.
type allowance struct {
	classes    []Class
	operations []string
}

// unlisted are the classes of operations that no allowance names: releasing, irreversible and unknown operations need
// more than one person.
func unlisted() []Class { return []Class{Governed, Attended} }

func allowances() []allowance {
	return []allowance{
		{[]Class{Attended}, []string{"keystore.activate", "keystore.initialise", "keystore.zeroise", "key.export",
			"shares.reissue", "quorum.change", "shareset.create", "shares.cutover", "shares.rehearse", "policy.recover", "backup.open", "restore"}},
		{[]Class{Protective}, []string{"keystore.deactivate", "key.suspend", "grant.revoke", "application.suspend", "custodian.suspend",
			"credential.revoke", "token.revoke", "node.revoke", "hold.set", "exception.revoke", "breakglass.close", "shares.abandon", "template.retire",
			"group.drain"}},
		{[]Class{PreAuthorised, Governed}, []string{"key.create", "key.activate", "key.deactivate"}},
		{[]Class{PreAuthorised}, []string{"backup.run", "keystore.hand-over"}},
		{[]Class{Direct, PreAuthorised, Governed}, []string{"key.rotate", "group.resync"}},
		{[]Class{Direct, Governed}, []string{"grant.create", "grant.alter", "application.enrol", "token.issue", "asset.register", "asset.alter", "asset.rewrap",
			"asset.retire", "campaign.start", "wrappingkey.create"}},
		{[]Class{Direct}, []string{"acknowledgement.sign", "share.confirm", "share.drill", "share.report-lost", "share.destroyed", "backup.drill", "review.sign",
			"finding.open", "finding.alter", "finding.close", "invitation.open", "invitation.withdraw", "duty.close", "attestation.sign", "attestation.withdraw",
			"log.review", "index.rebuild", "custody.record", "custody.countersign", "key.import-confirm", "key.import-reject", "wrappingkey.withdraw"}},
	}
}

// allowedClasses returns the classes that an operation may have.
func allowedClasses(operation string) []Class {
	for _, a := range allowances() {
		if slices.Contains(a.operations, operation) {
			return a.classes
		}
	}
	return unlisted()
}

// ClassTable is the classes that each operation may have, under "" those of all others: for whoever checks elsewhere
// what was done here.
func ClassTable() map[string][]Class {
	table := map[string][]Class{"": unlisted()}
	for _, a := range allowances() {
		for _, operation := range a.operations {
			table[operation] = a.classes
		}
	}
	return table
}

// MayHaveClass reports whether the floor lets an operation have a class.
func MayHaveClass(operation string, class Class) bool {
	return slices.Contains(allowedClasses(operation), class)
}

// Restricts reports whether an operation is one that the floor lets one person do at once because it only restricts.
func Restricts(operation string) bool {
	return slices.Equal(allowedClasses(operation), []Class{Protective})
}

// ProtectedClass reports whether the floor holds for keys of this classification, whatever the bundle's table says
// of it. An unknown classification counts as protected.
func ProtectedClass(classification string) bool { return protectedClass(classification) }

// protectedClass reports whether access to keys of this classification is always governed. An unknown
// classification counts as protected.
func protectedClass(classification string) bool {
	return !slices.Contains([]string{"public", "internal", "confidential"}, classification)
}

// governedByClass reports whether the keys touched make the operation governed. A grant or a new key of
// no known class counts as protected; an enrolment without keys touches none.
func governedByClass(in *QuorumInput) bool {
	switch in.Operation {
	case "key.create", "grant.create", "grant.alter":
		return len(in.Target.Classifications) == 0 || slices.ContainsFunc(in.Target.Classifications, protectedClass)
	case "application.enrol":
		return slices.ContainsFunc(in.Target.Classifications, protectedClass)
	default:
		return false
	}
}

// checkFloor refuses a requirement below the floor.
func checkFloor(in *QuorumInput, d *QuorumDecision) error {
	below := func(format string, args ...any) error {
		return fmt.Errorf("deciding quorum of %s: %w: %s", in.Operation, ErrBelowFloor, fmt.Sprintf(format, args...))
	}
	if !slices.Contains(allowedClasses(in.Operation), d.Class) {
		return below("class %s where %v are allowed", d.Class, allowedClasses(in.Operation))
	}
	if governedByClass(in) && d.Class != Governed {
		return below("class %s for keys of class %v", d.Class, in.Target.Classifications)
	}
	if d.WaitSeconds > longest || d.CoolingOffSeconds > longest || d.ExpirySeconds > longest {
		return below("waits of %d and %d s and an expiry of %d s; at most 90 days each are allowed", d.WaitSeconds, d.CoolingOffSeconds, d.ExpirySeconds)
	}
	if err := checkClassFloor(in, d, below); err != nil {
		return err
	}
	switch in.Operation {
	case "key.destroy":
		if d.WaitSeconds < destroyWaitLeast || d.WaitSeconds > destroyWaitMost {
			return below("a wait of %d s; 7 to 30 days are allowed", d.WaitSeconds)
		}
		if !d.Witness {
			return below("no witness")
		}
	case "keystore.zeroise":
		if d.WaitSeconds < destroyWaitLeast || d.WaitSeconds > destroyWaitMost {
			return below("a wait of %d s; 7 to 30 days are allowed", d.WaitSeconds)
		}
		if !d.Witness {
			return below("no witness")
		}
	case "breakglass.open":
		if d.ExpirySeconds > breakGlassLongest || d.ReviewSeconds < 1 || d.ReviewSeconds > reviewWithin {
			return below("an expiry of %d s and a review within %d s; at most 4 h and, from 1 s on, 24 h are allowed", d.ExpirySeconds, d.ReviewSeconds)
		}
	}
	return nil
}

func checkClassFloor(in *QuorumInput, d *QuorumDecision, below func(string, ...any) error) error {
	switch d.Class {
	case Governed:
		if least := LeastApprovals(in.Mode); d.Approvals < least {
			return below("%d approvals; at least %d are needed in mode %s", d.Approvals, least, in.Mode)
		}
		if len(d.ApproverRoles) == 0 {
			return below("no role that an approver must hold")
		}
	case Attended:
		if !d.Shares || in.Target.Threshold < 2 || d.Approvals < in.Target.Threshold {
			return below("%d share holders for a set of threshold %d; shares: %t", d.Approvals, in.Target.Threshold, d.Shares)
		}
	case Protective:
		if d.Approvals != 1 || d.ReviewSeconds < 1 || d.ReviewSeconds > reviewWithin || d.WaitSeconds != 0 || d.CoolingOffSeconds != 0 {
			return below("a protective operation is one person's, at once, reviewed within 24 h")
		}
	case Direct:
		if len(d.ProposerRoles) == 0 && !d.OwnerOnly {
			return below("a direct operation needs a role or the owner")
		}
	case PreAuthorised:
		if !d.Precedent || in.Precedent == "" {
			return below("a pre-authorised operation cites the governed decision it rests on")
		}
	}
	return nil
}
