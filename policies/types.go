// Package policies turns facts into decisions. Every decision point is a Go method with a typed input
// and a typed output over an embedded bundle of Rego rules and JSON tables: [Engine.Authorise],
// [Engine.Place], [Engine.Quorum] and [Engine.Lifecycle]. Rules read nothing but their input and the
// tables beside them: no clock, no network, no environment. Whatever goes wrong (an error, a timeout, a
// missing or malformed answer) is an error wrapping [ErrPolicy], which callers treat as a denial.
package policies

import (
	"errors"
	"fmt"
	"time"
)

// Errors callers decide by. ErrUndefined, ErrBelowFloor and ErrTimeout are all ErrPolicy as well.
var (
	// ErrPolicy: no usable decision was reached. The caller denies.
	ErrPolicy = errors.New("policy gave no decision")
	// ErrUndefined: the policy has no answer, or a zero, null, negative or wrongly typed one.
	ErrUndefined = fmt.Errorf("%w: undefined or malformed result", ErrPolicy)
	// ErrBelowFloor: the policy asks for less than the floor compiled into this package.
	ErrBelowFloor = fmt.Errorf("%w: requirement below the floor", ErrPolicy)
	// ErrTimeout: the evaluation took longer than Options.Timeout.
	ErrTimeout = fmt.Errorf("%w: timed out", ErrPolicy)
	// ErrBundle: the bundle does not compile, is malformed, or is larger than the bounds.
	ErrBundle = errors.New("policy bundle is not usable")
	// ErrInput: the input of a decision is malformed. The message names the field.
	ErrInput = errors.New("policy input is malformed")
)

// Mode of the instance, chosen at genesis.
type Mode string

// The two modes. Any other value is refused.
const (
	Production  Mode = "production"
	Development Mode = "development"
)

// Point names a decision point.
type Point string

// The decision points.
const (
	PointAuthorise Point = "authorise"
	PointPlace     Point = "place"
	PointQuorum    Point = "quorum"
	PointLifecycle Point = "lifecycle"
)

// Reason is why something is refused, or which requirement was chosen and why.
type Reason struct {
	Rule     string   `json:"rule"`               // id of the rule, e.g. "authorise.grant"
	Code     string   `json:"code"`               // stable code for programs, e.g. "grant_missing"
	Message  string   `json:"message"`            // for people
	Remedy   string   `json:"remedy"`             // what would make it pass
	Controls []string `json:"controls,omitempty"` // "framework:id", e.g. "pci-dss-4.0.1:3.7.6"
}

// AuthoriseInput asks whether a principal may do one operation now. Zero times mean "none"; a rule that
// needs a time it was not given refuses.
type AuthoriseInput struct {
	Now       time.Time `json:"now"`
	Mode      Mode      `json:"mode"`
	Operation string    `json:"operation"` // data plane: datakey, encrypt, sign, …; reads: see data/authorisation.json
	Principal Principal `json:"principal"`

	// The rest belongs to operations on a key. Key is nil for operations on none, such as ledger.read.
	Key      *KeyFacts      `json:"key,omitempty"`
	Version  *VersionFacts  `json:"version,omitempty"` // version that protects or processes
	Onto     *VersionFacts  `json:"onto,omitempty"`    // rewrap only: version that protects afterwards
	Grant    *GrantFacts    `json:"grant,omitempty"`   // nil when there is none
	Keystore *KeystoreState `json:"keystore,omitempty"`

	Context      map[string]string `json:"context,omitempty"`       // encryption context
	ReasonCode   string            `json:"reason_code,omitempty"`   // why the caller does it, from the table of reason codes
	AcceptRisk   bool              `json:"accept_risk,omitempty"`   // caller accepts the risk of a suspended key
	ProtectedAt  time.Time         `json:"protected_at,omitzero"`   // from the ciphertext header, process operations
	PayloadBytes int               `json:"payload_bytes,omitempty"` // plaintext or data-key length in bytes; the largest item of a batch
}

// Principal is the caller as policy sees it.
type Principal struct {
	Kind        string   `json:"kind"` // human, application, auditor, node
	ID          string   `json:"id"`
	Status      string   `json:"status"`                // active, suspended, left
	Environment string   `json:"environment,omitempty"` // of an application: production, test
	Roles       []string `json:"roles,omitempty"`       // of a human
	// CredentialExpiresAt is when the token or key that proved the caller ends; zero means it does not.
	CredentialExpiresAt time.Time `json:"credential_expires_at,omitzero"`
	CredentialRevoked   bool      `json:"credential_revoked,omitempty"`
}

// KeyFacts are the governed facts of a key.
type KeyFacts struct {
	ID             string `json:"id"`
	Type           string `json:"type"` // SP 800-57 key type, e.g. symmetric-data-encryption
	Classification string `json:"classification"`
	Impact         string `json:"impact"` // FIPS 199: low, moderate, high
	Jurisdiction   string `json:"jurisdiction"`
	Environment    string `json:"environment"`
	Owner          string `json:"owner,omitempty"`
	Keystore       string `json:"keystore,omitempty"`
}

// VersionFacts are the state and dates of one key version (SP 800-57 Part 1 section 7).
type VersionFacts struct {
	Number       uint32    `json:"number"`
	State        string    `json:"state"`
	ActivationAt time.Time `json:"activation_at,omitzero"`
	OUPEnd       time.Time `json:"oup_end,omitzero"` // protect is refused from here on
	RUPEnd       time.Time `json:"rup_end,omitzero"` // process is refused from here on
	SuspendedAt  time.Time `json:"suspended_at,omitzero"`
	Suspected    bool      `json:"suspected,omitempty"` // suspended on suspicion of compromise
	// ControlledUse is the approval under which this caller may process with a compromised version, "" for none,
	// and ControlledUntil its end.
	ControlledUse   string    `json:"controlled_use,omitempty"`
	ControlledUntil time.Time `json:"controlled_until,omitzero"`
}

// GrantFacts is the grant that covers this application and key.
type GrantFacts struct {
	ID         string            `json:"id"`
	Operations []string          `json:"operations"`
	Context    map[string]string `json:"context,omitempty"` // fields the encryption context must equal
	ExpiresAt  time.Time         `json:"expires_at,omitzero"`
	Revoked    bool              `json:"revoked,omitempty"`
	// Emergency is the ceremony that opened emergency access, which stands in for the grant; empty for a grant.
	Emergency string `json:"emergency,omitempty"`
}

// KeystoreState is what authorisation needs to know of the key's keystore.
type KeystoreState struct {
	ID          string `json:"id"`
	Environment string `json:"environment"`
	Active      bool   `json:"active"`
	// Drift holds the codes of the reasons for which the key would not be placed there as things are now.
	Drift []string `json:"drift,omitempty"`
}

// Decision of Authorise. Reasons holds every reason to deny, in a fixed order; it is empty on allow.
type Decision struct {
	Allow   bool     `json:"allow"`
	Reasons []Reason `json:"reasons,omitempty"`
	// ValidFrom and ValidUntil bound the time for which an allow stays true, other facts unchanged:
	// ValidFrom ≤ t < ValidUntil. Zero on deny.
	ValidFrom  time.Time `json:"valid_from,omitzero"`
	ValidUntil time.Time `json:"valid_until,omitzero"`
	// MaxPayload is the largest PayloadBytes for which this allow holds. Zero on deny.
	MaxPayload int `json:"max_payload,omitempty"`
	// Reads lists the input facts the bundle declares that authorisation reads; [Engine.AppendMemoKey]
	// makes a key of them.
	Reads        []string `json:"reads,omitempty"`
	PolicyDigest string   `json:"policy_digest"`
}

// Holds reports whether a memoised allow is still true at now for this payload.
func (d Decision) Holds(now time.Time, payloadBytes int) bool {
	return d.Allow && !now.Before(d.ValidFrom) && now.Before(d.ValidUntil) && payloadBytes <= d.MaxPayload
}

// PlacementInput asks where one key may live.
type PlacementInput struct {
	Now       time.Time           `json:"now"`
	Mode      Mode                `json:"mode"`
	Key       PlacementKey        `json:"key"`
	Keystores []PlacementKeystore `json:"keystores"`
	// Existing: the key lives there already and is watched for drift. A certificate that became
	// historical does not then count against it; every other rule does.
	Existing bool `json:"existing,omitempty"`
	// Exceptions are risks that a quorum accepted and nobody has revoked. A rule that lets one be, and no other,
	// looks at them, until they expire.
	Exceptions []ExceptionFacts `json:"exceptions,omitempty"`
}

// ExceptionFacts is one accepted risk. Where key and keystore are both named, both must match.
type ExceptionFacts struct {
	ID        string    `json:"id"`
	Rule      string    `json:"rule"` // id of the rule that it lifts
	Key       string    `json:"key,omitempty"`
	Keystore  string    `json:"keystore,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// PlacementKey is the key to be placed.
type PlacementKey struct {
	ID             string   `json:"id,omitempty"`
	Type           string   `json:"type"`
	Classification string   `json:"classification"`
	Impact         string   `json:"impact"`
	Frameworks     []string `json:"frameworks,omitempty"`
	Jurisdiction   string   `json:"jurisdiction"`
	Environment    string   `json:"environment"`
	Custody        []string `json:"custody,omitempty"` // custody models accepted; empty: whatever the class accepts
	// Demands of the data sets under the key. Each must be met.
	Demands      []CustodyDemand `json:"demands,omitempty"`
	Algorithm    string          `json:"algorithm"`     // what the key is to be, e.g. "aes-256", "ecdsa-p256"
	StrengthBits int             `json:"strength_bits"` // security strength of such keys, bits (SP 800-57 Part 1 Table 2)
	// Origin of the material that is to be placed: generated, imported-components, imported-wrapped; "" where no material is
	// at stake.
	Origin string `json:"origin,omitempty"`
}

// CustodyDemand is the custody models that one data set lets its key be under.
type CustodyDemand struct {
	By      string   `json:"by"` // the data set
	Custody []string `json:"custody"`
}

// PlacementKeystore is one candidate.
type PlacementKeystore struct {
	ID                string `json:"id"`
	Status            string `json:"status"` // registered, retired
	FIPSStandard      string `json:"fips_standard,omitempty"`
	FIPSLevel         int    `json:"fips_level"`
	Certificate       string `json:"certificate,omitempty"`
	CertificateStatus string `json:"certificate_status,omitempty"` // active, historical, revoked, ""
	Custody           string `json:"custody"`
	Tenancy           string `json:"tenancy,omitempty"` // single, multi; "" counts as multi
	Jurisdiction      string `json:"jurisdiction"`
	Environment       string `json:"environment"`
	KeyStrength       int    `json:"key_strength"` // bits of security of what protects the keys held there
	// Algorithms of the keys that can be made there.
	Algorithms []string `json:"algorithms,omitempty"`
	Simulated  bool     `json:"simulated,omitempty"`
	Export     bool     `json:"export,omitempty"`   // keys can leave it, wrapped
	MaxKeys    int      `json:"max_keys,omitempty"` // key versions that it may hold; 0: no bound
	Keys       int      `json:"keys,omitempty"`     // key versions that it holds; counted where there is a bound
	// Members are the candidates that this one is together: it is allowed where all of them are. Group is the candidate that
	// this one is a member of: by itself it takes no keys. Rules see neither.
	Members []string `json:"members,omitempty"`
	Group   string   `json:"group,omitempty"`
}

// PlacementDecision judges every candidate. Keystores are sorted, best first, as [BestFirst] says.
type PlacementDecision struct {
	Keystores    []KeystoreVerdict `json:"keystores"`
	LeastLevel   int               `json:"least_level"` // FIPS level this key needs; 0 for none
	Validated    bool              `json:"validated"`   // a module with an active certificate is needed
	PolicyDigest string            `json:"policy_digest"`
}

// BestFirst says in words how candidates are sorted.
const BestFirst = "allowed ones first: those that rest on no accepted risk, then the smallest surplus of FIPS level, " +
	"the custody model under which the fewest can read the key, single tenants, id; then refused ones: fewest reasons, smallest shortfall of level, id"

// KeystoreVerdict is the verdict on one candidate, with every reason against it.
type KeystoreVerdict struct {
	Keystore       string `json:"keystore"`
	Allow          bool   `json:"allow"`
	EffectiveLevel int    `json:"effective_level"` // FIPS level that counts for this key, 0 without an active certificate
	// Exceptions that bear on this keystore and key; an allow may rest on them, and ends with them.
	Exceptions []string `json:"exceptions,omitempty"`
	Reasons    []Reason `json:"reasons,omitempty"`
}

// Verdict returns the verdict on one keystore; false when it was no candidate.
func (d PlacementDecision) Verdict(keystore string) (KeystoreVerdict, bool) {
	for _, v := range d.Keystores {
		if v.Keystore == keystore {
			return v, true
		}
	}
	return KeystoreVerdict{}, false
}

// Class of an operation (operations table): how many people it takes.
type Class string

// The classes of operations.
const (
	Governed      Class = "G" // requester plus at least two other humans
	Attended      Class = "S" // shares are brought, each with its holder's signed approval
	Protective    Class = "P" // one authorised person, at once, reversible, reviewed within 24 h
	PreAuthorised Class = "A" // cites the governed decision it rests on
	Direct        Class = "D" // one authorised person, recorded
)

// QuorumInput asks what an operation on a target takes.
type QuorumInput struct {
	Now       time.Time    `json:"now"`
	Mode      Mode         `json:"mode"`
	Operation string       `json:"operation"`
	Requester Requester    `json:"requester"`
	Target    QuorumTarget `json:"target"`
	// Precedent is the id of the governed decision a pre-authorised operation rests on (an approved
	// template, the ceremony that set a schedule); empty for none.
	Precedent string `json:"precedent,omitempty"`
}

// Requester is who proposes.
type Requester struct {
	Kind  string   `json:"kind"` // human, node
	ID    string   `json:"id"`
	Roles []string `json:"roles,omitempty"`
}

// QuorumTarget is what the operation acts on.
type QuorumTarget struct {
	Type string `json:"type"` // key, keystore, application, grant, token, person, share, …
	ID   string `json:"id"`
	// Owner is the person answerable: key owner, application owner, holder of the share, the person
	// themself. It matters for operations that only the owner may do directly.
	Owner string `json:"owner,omitempty"`
	// Classifications of every key touched; a batch or an enrolment with grants lists several.
	Classifications []string `json:"classifications,omitempty"`
	// Raising: a reclassification after which the key is governed at least as strictly as before.
	Raising bool `json:"raising,omitempty"`
	// Threshold m and Total n of the share set, for attended operations.
	Threshold int `json:"threshold,omitempty"`
	Total     int `json:"total,omitempty"`
}

// QuorumDecision says what the operation takes. Counts are of distinct humans.
type QuorumDecision struct {
	Operation string `json:"operation"`
	Class     Class  `json:"class"`
	// Approvals is the number of people whose signed approval is needed. In classes P and D that is one,
	// the requester (RequesterCounts); in G and S the requester is never among them; in A it is 0 and
	// Precedent is needed instead.
	Approvals       int  `json:"approvals"`
	RequesterCounts bool `json:"requester_counts,omitempty"`
	// ApproverRoles: an approval counts only from a person holding one of these.
	ApproverRoles []string `json:"approver_roles,omitempty"`
	// Roles are minimums within Approvals, e.g. one security officer.
	Roles []RoleCount `json:"roles,omitempty"`

	ProposerKinds []string `json:"proposer_kinds"`           // identity kinds that may propose
	ProposerRoles []string `json:"proposer_roles,omitempty"` // a human proposer holds one of these; empty: OwnerOnly decides
	OwnerOnly     bool     `json:"owner_only,omitempty"`     // a human proposer must be Target.Owner

	Shares    bool      `json:"shares,omitempty"`    // approvals are given with the holder's share
	Witness   bool      `json:"witness,omitempty"`   // a further person with role witness attends and signs
	Precedent bool      `json:"precedent,omitempty"` // class A: the governed decision must be cited
	Diversity Diversity `json:"diversity"`
	Script    bool      `json:"script,omitempty"`  // it is held by its written script, which an administrator leads
	StepUp    bool      `json:"step_up,omitempty"` // approvers prove presence afresh at signing

	CoolingOffSeconds int64 `json:"cooling_off_seconds"` // between the last approval and execution
	WaitSeconds       int64 `json:"wait_seconds"`        // cancellable delay of the effect itself (destroy)
	ExpirySeconds     int64 `json:"expiry_seconds"`      // proposal to execution, the wait excluded
	ReviewSeconds     int64 `json:"review_seconds"`      // class P: reviewed within; 0 for none

	CancelRoles []string `json:"cancel_roles,omitempty"` // any one may cancel during the wait

	// Allow: this requester may propose. Denials says why not.
	Allow        bool     `json:"allow"`
	Denials      []Reason `json:"denials,omitempty"`
	Reasons      []Reason `json:"reasons"` // why this much is asked, with the controls
	PolicyDigest string   `json:"policy_digest"`
}

// RoleCount is a minimum number of people holding a role.
type RoleCount struct {
	Role  string `json:"role"`
	Count int    `json:"count"`
}

// Diversity of the people taking part: requester (when human) and approvers together.
type Diversity struct {
	Teams int `json:"teams"` // least distinct teams; 0 or 1 asks nothing
	Sites int `json:"sites"` // least distinct sites; 0 or 1 asks nothing
	// ReportingLine: an approver who reports to the requester, directly or through others, does not count.
	ReportingLine bool `json:"reporting_line,omitempty"`
}

// LifecycleInput proposes cryptoperiods for a key. Zero days ask for the default of the type and class.
type LifecycleInput struct {
	Now            time.Time `json:"now"`
	Mode           Mode      `json:"mode"`
	Type           string    `json:"type"` // SP 800-57 key type
	Classification string    `json:"classification"`
	OUPDays        int       `json:"oup_days,omitempty"`    // originator usage period
	RUPDays        int       `json:"rup_days,omitempty"`    // recipient usage period, from activation
	RotateDays     int       `json:"rotate_days,omitempty"` // scheduled rotation
	// ReviewDays until a suspension must be reviewed; zero asks for the default.
	ReviewDays int `json:"review_days,omitempty"`
}

// LifecycleDecision holds the periods to use when allowed, and the bounds either way.
type LifecycleDecision struct {
	Allow                bool     `json:"allow"`
	Reasons              []Reason `json:"reasons,omitempty"`
	OUPDays              int      `json:"oup_days"`
	RUPDays              int      `json:"rup_days"`
	RotateDays           int      `json:"rotate_days"`
	MaxOUPDays           int      `json:"max_oup_days"`
	MaxRUPDays           int      `json:"max_rup_days"` // for the OUP asked for
	WarnDays             []int    `json:"warn_days"`    // days before oup_end, largest first
	DestroyWaitDays      int      `json:"destroy_wait_days"`
	SuspensionReviewDays int      `json:"suspension_review_days"`
	PolicyDigest         string   `json:"policy_digest"`
}
