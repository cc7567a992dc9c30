package key

import "slices"

// Operation is something done with a key version: the columns of the state table.
type Operation string

// The twelve operations. The first five protect, the next five process (SP 800-57 Part 1 section 5.3.5).
const (
	Encrypt       Operation = "encrypt"
	Sign          Operation = "sign"
	MACCreate     Operation = "mac-create"
	Wrap          Operation = "wrap"
	DeriveProtect Operation = "derive-for-protect"
	Decrypt       Operation = "decrypt"
	Verify        Operation = "verify"
	MACVerify     Operation = "mac-verify"
	Unwrap        Operation = "unwrap"
	DeriveProcess Operation = "derive-for-process"
	Confirm       Operation = "key-confirmation" // proof of possession, check value
	ExportWrapped Operation = "export-wrapped"
)

// Operations returns all twelve, protecting ones first.
func Operations() []Operation {
	return []Operation{Encrypt, Sign, MACCreate, Wrap, DeriveProtect,
		Decrypt, Verify, MACVerify, Unwrap, DeriveProcess, Confirm, ExportWrapped}
}

// Protects reports whether the operation applies protection.
func (o Operation) Protects() bool { return slices.Contains(Operations()[:5], o) }

// Processes reports whether the operation works on what is already protected.
func (o Operation) Processes() bool { return slices.Contains(Operations()[5:10], o) }

// States returns the six states in the order of the state table.
func States() []State {
	return []State{PreActivation, Active, Suspended, Deactivated, Compromised, Destroyed}
}

// Permission is one cell of the state table.
type Permission string

const (
	Never         Permission = "never"
	Free          Permission = "free"           // in this state, always
	InPeriod      Permission = "in-period"      // between activation and the end of the usage period that applies
	Limited       Permission = "limited"        // suspended: only data from before it, and the caller accepts the risk
	ControlledUse Permission = "controlled-use" // compromised: only under a controlled-use approval
	Dual          Permission = "dual"           // only under a governed ceremony
)

// Permitted is the state table: SP 800-57 Part 1 section 7, one row a state. Anything unknown is Never.
func Permitted(s State, op Operation) Permission {
	protect, process, confirm, export := Never, Never, Never, Never
	switch s {
	case PreActivation:
		confirm, export = Free, Dual // export: backup only
	case Active:
		protect, process, confirm, export = InPeriod, InPeriod, Free, Dual
	case Suspended:
		process = Limited
	case Deactivated:
		process, export = InPeriod, Dual // export: re-wrap for an archive
	case Compromised:
		process = ControlledUse
	case Destroyed:
	}
	switch {
	case op.Protects():
		return protect
	case op.Processes():
		return process
	case op == Confirm:
		return confirm
	case op == ExportWrapped:
		return export
	}
	return Never
}

// RotatesFrom reports whether a key may be rotated away from a version in this state.
func (s State) RotatesFrom() bool { return s == Active }

// HasMaterial reports whether key material exists in this state.
func (s State) HasMaterial() bool {
	return slices.Contains(States(), s) && s != Destroyed
}
