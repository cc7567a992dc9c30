// Package api is the wire: the JSON bodies of the HTTP API, shared by the server's handlers and the Go
// client so that the two cannot drift. Byte slices travel as standard base64. Values only.
package api

import (
	"encoding/json"
	"time"
)

// Problem is an RFC 9457 problem. Type is "urn:conclave:problem:" + Code.
type Problem struct {
	Type      string   `json:"type"`
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Code      string   `json:"code"` // stable
	Detail    string   `json:"detail,omitempty"`
	Field     string   `json:"field,omitempty"`   // input errors: which field
	Allowed   string   `json:"allowed,omitempty"` // input errors: what is allowed
	Retryable bool     `json:"retryable"`
	Decision  string   `json:"decision,omitempty"` // open it with `conclave why`
	Request   string   `json:"request,omitempty"`
	Reasons   []Reason `json:"reasons,omitempty"` // development mode, and governed operations, only
	// Deleted says which ledger entries are gone, where that is the problem.
	Deleted *DeletedEntries `json:"deleted,omitempty"`
}

// CodeEntriesDeleted is the code of a problem whose Deleted says which ledger entries are gone.
const CodeEntriesDeleted = "entries_deleted"

// DeletedEntries are ledger entries that were deleted under retention, from ≤ seq < to.
type DeletedEntries struct {
	From     uint64 `json:"from"`
	To       uint64 `json:"to"`
	Ceremony string `json:"ceremony"` // that deleted them
}

// Reason is one reason of a policy decision.
type Reason struct {
	Code     string   `json:"code"`
	Message  string   `json:"message"`
	Remedy   string   `json:"remedy,omitempty"`
	Controls []string `json:"controls,omitempty"`
	Rule     string   `json:"rule,omitempty"`
}

// Data plane.
type (
	DataKeyRequest struct {
		Bytes     int               `json:"bytes"`
		Context   map[string]string `json:"context,omitempty"`
		Plaintext bool              `json:"plaintext,omitempty"`
		Reason    string            `json:"reason,omitempty"` // reason code, where policy asks for one
	}
	DataKeyResponse struct {
		Key          string `json:"key"`
		Version      uint32 `json:"version"`
		Plaintext    []byte `json:"plaintext,omitempty"`
		Ciphertext   []byte `json:"ciphertext"`
		Warning      string `json:"warning,omitempty"`
		CacheSeconds int64  `json:"cache_seconds"`
	}
	EncryptRequest struct {
		Plaintext []byte            `json:"plaintext"`
		Context   map[string]string `json:"context,omitempty"`
		Reason    string            `json:"reason,omitempty"`
	}
	EncryptResponse struct {
		Key        string `json:"key"`
		Version    uint32 `json:"version"`
		Ciphertext []byte `json:"ciphertext"`
		Warning    string `json:"warning,omitempty"`
	}
	DecryptRequest struct {
		Ciphertext []byte            `json:"ciphertext"`
		Context    map[string]string `json:"context,omitempty"`
		AcceptRisk bool              `json:"accept_risk,omitempty"`
		Reason     string            `json:"reason,omitempty"`
		Version    uint32            `json:"version,omitempty"` // of the key-transport pair that an OAEP ciphertext is for
	}
	DecryptResponse struct {
		Key       string `json:"key"`
		Version   uint32 `json:"version"`
		Plaintext []byte `json:"plaintext"`
	}
	RewrapRequest struct {
		Ciphertext []byte            `json:"ciphertext"`
		Context    map[string]string `json:"context,omitempty"`
		NewContext map[string]string `json:"new_context,omitempty"`
		Reason     string            `json:"reason,omitempty"`
	}
	RewrapResponse = EncryptResponse

	// DataKeyPairRequest asks for a pair of an algorithm that makes pairs, e.g. "ecdsa-p256".
	DataKeyPairRequest struct {
		Algorithm string            `json:"algorithm"`
		Context   map[string]string `json:"context,omitempty"`
		Plaintext bool              `json:"plaintext,omitempty"`
		Reason    string            `json:"reason,omitempty"`
	}
	// DataKeyPairResponse: decrypting Ciphertext gives the private half again.
	DataKeyPairResponse struct {
		Key        string `json:"key"`
		Version    uint32 `json:"version"`
		Algorithm  string `json:"algorithm"`
		Public     []byte `json:"public"`              // SubjectPublicKeyInfo (RFC 5280), DER
		Plaintext  []byte `json:"plaintext,omitempty"` // PKCS #8 (RFC 5958), DER
		Ciphertext []byte `json:"ciphertext"`
		Warning    string `json:"warning,omitempty"`
	}
	// SignRequest carries the message, or its digest and the hash that made it.
	SignRequest struct {
		Message []byte `json:"message,omitempty"`
		Digest  []byte `json:"digest,omitempty"`
		Hash    string `json:"hash,omitempty"` // none: the first that goes with the key
		Reason  string `json:"reason,omitempty"`
	}
	SignResponse struct {
		Key       string `json:"key"`
		Version   uint32 `json:"version"` // keep it: verifying names it
		Algorithm string `json:"algorithm"`
		Hash      string `json:"hash,omitempty"`
		Signature []byte `json:"signature"`
		Warning   string `json:"warning,omitempty"`
	}
	VerifyRequest struct {
		Version   uint32 `json:"version"`
		Message   []byte `json:"message,omitempty"`
		Digest    []byte `json:"digest,omitempty"`
		Hash      string `json:"hash,omitempty"`
		Signature []byte `json:"signature"`
		Reason    string `json:"reason,omitempty"`
	}
	// VerifyResponse: a wrong signature or MAC is an answer, not an error.
	VerifyResponse struct {
		Key     string `json:"key"`
		Version uint32 `json:"version"`
		Valid   bool   `json:"valid"`
	}
	MACRequest struct {
		Message []byte `json:"message"`
		Reason  string `json:"reason,omitempty"`
	}
	MACResponse struct {
		Key       string `json:"key"`
		Version   uint32 `json:"version"`
		Algorithm string `json:"algorithm"`
		MAC       []byte `json:"mac"`
		Warning   string `json:"warning,omitempty"`
	}
	VerifyMACRequest struct {
		Version uint32 `json:"version"`
		Message []byte `json:"message"`
		MAC     []byte `json:"mac"`
		Reason  string `json:"reason,omitempty"`
	}

	// Batch forms: POST /v1/keys/{key}/datakeys/batch and so on; at most 100 items. An item fails alone.
	Batch[T any] struct {
		Items []T `json:"items"`
	}
	BatchResult[T any] struct {
		Items []BatchItem[T] `json:"items"`
	}
	BatchItem[T any] struct {
		Result *T       `json:"result,omitempty"`
		Error  *Problem `json:"error,omitempty"`
	}
)

// Custody.
type (
	Key struct {
		ID             string    `json:"id"`
		Label          string    `json:"label"`
		Type           string    `json:"type"`
		Algorithm      string    `json:"algorithm"` // what its versions are, e.g. "aes-256", "ecdsa-p256"
		Classification string    `json:"classification"`
		Impact         string    `json:"impact"`
		Frameworks     []string  `json:"frameworks,omitempty"`
		Jurisdiction   string    `json:"jurisdiction"`
		Environment    string    `json:"environment"`
		Owner          string    `json:"owner"`
		Keystore       string    `json:"keystore"`
		Origin         string    `json:"origin"` // of the current version: generated, imported-components, imported-wrapped
		State          string    `json:"state"`  // of the current version
		Current        uint32    `json:"current"`
		Versions       uint32    `json:"versions"`
		OUPEnd         time.Time `json:"oup_end"`
		CreatedAt      time.Time `json:"created_at"`
		CreatedBy      string    `json:"created_by"`
		GovRevision    uint64    `json:"gov_revision"`
	}
	Version struct {
		Version      uint32       `json:"version"`
		State        string       `json:"state"`
		Keystore     string       `json:"keystore"` // that it is in; those before a move stay where they are
		CheckValue   string       `json:"check_value"`
		Origin       string       `json:"origin"`           // generated, imported-components, imported-wrapped
		Import       *Import      `json:"import,omitempty"` // how it came in, where it was made elsewhere
		Algorithm    string       `json:"algorithm"`
		StrengthBits int          `json:"strength_bits"`
		FIPSClaim    string       `json:"fips_claim,omitempty"`
		GeneratedAt  time.Time    `json:"generated_at"`
		ActivationAt time.Time    `json:"activation_at"`
		OUPEnd       time.Time    `json:"oup_end"`
		RUPEnd       time.Time    `json:"rup_end"`
		History      []Transition `json:"history"`
		// Members of a keystore group that hold it, with the check value that each computed; Lacking are those that should.
		Members []MemberCopy `json:"members,omitempty"`
		Lacking []string     `json:"lacking,omitempty"`
		// Copies says of a destroyed version what is known of copies that still hold it: "copies outstanding", "no
		// copies known", or "copies not known: rows damaged".
		Copies string `json:"copies,omitempty"`
		// CountsAsCompromised: so many shares of its keystore were lost that they make a quorum.
		CountsAsCompromised bool `json:"counts_as_compromised,omitempty"`
	}
	MemberCopy struct {
		Keystore   string `json:"keystore"`
		CheckValue string `json:"check_value"`
	}
	// GroupMember is one keystore of a group, as it stands on the node that answers.
	GroupMember struct {
		Keystore string    `json:"keystore"`
		State    string    `json:"state"` // serving, drained
		Since    time.Time `json:"since"`
		Active   bool      `json:"active"`
		Breaker  bool      `json:"breaker_open,omitempty"` // it failed too often just now and is left alone for a moment
		Holds    int       `json:"holds"`                  // key versions
		Lacks    int       `json:"lacks"`                  // key versions that it should hold
	}
	// Import is what is on record about a version that was made elsewhere.
	Import struct {
		By            string            `json:"by"`       // who asked for it
		Ceremony      string            `json:"ceremony"` // that brought it in
		Inside        bool              `json:"inside"`   // the whole key was never outside the module
		Components    []ImportComponent `json:"components,omitempty"`
		WrappingKey   string            `json:"wrapping_key,omitempty"`
		TransportBits int               `json:"transport_bits,omitempty"` // strength of the wrapping key
		ConfirmedBy   string            `json:"confirmed_by,omitempty"`   // who compared the check value; none: it is not used
		ConfirmedAt   *time.Time        `json:"confirmed_at,omitempty"`
		ConfirmedIn   string            `json:"confirmed_in,omitempty"` // ceremony
	}
	ImportComponent struct {
		Custodian  string `json:"custodian"`
		CheckValue string `json:"check_value"`
	}
	// WrappingKey is a one-time pair that a key made elsewhere is wrapped for.
	WrappingKey struct {
		ID           string     `json:"id"`
		Keystore     string     `json:"keystore"`
		Algorithm    string     `json:"algorithm"`
		StrengthBits int        `json:"strength_bits"`
		CheckValue   string     `json:"check_value"`
		Status       string     `json:"status"` // open, used, expired, withdrawn
		CreatedAt    time.Time  `json:"created_at"`
		CreatedBy    string     `json:"created_by"`
		Ceremony     string     `json:"ceremony"`
		ExpiresAt    time.Time  `json:"expires_at"`
		UsedBy       string     `json:"used_by,omitempty"` // ceremony of the import
		EndedAt      *time.Time `json:"ended_at,omitempty"`
		DestroyedAt  *time.Time `json:"destroyed_at,omitempty"` // its private half
	}
	// WrappingKeyFile states the public half of one that is open: DSSE by the node key.
	WrappingKeyFile struct {
		Envelope json.RawMessage `json:"envelope"`
	}
	Transition struct {
		ID       string    `json:"id"`
		From     string    `json:"from,omitempty"`
		To       string    `json:"to"`
		At       time.Time `json:"at"`
		Actor    string    `json:"actor"`
		Ceremony string    `json:"ceremony,omitempty"`
		Reason   string    `json:"reason"`
	}
	// PublicKeys are the public halves of a pair's versions.
	PublicKeys struct {
		Key       string      `json:"key"`
		Algorithm string      `json:"algorithm"`
		Use       string      `json:"use"` // "signature" or "key-transport"
		Items     []PublicKey `json:"items"`
	}
	// PublicKey is one public half. State is its own: it verifies on after the private half was destroyed, until
	// RUPEnd, and nothing any more once it reads compromised or destroyed.
	PublicKey struct {
		Version      uint32          `json:"version"`
		State        string          `json:"state"`
		CheckValue   string          `json:"check_value"`
		ActivationAt time.Time       `json:"activation_at"`
		OUPEnd       time.Time       `json:"oup_end"`
		RUPEnd       time.Time       `json:"rup_end"`
		PEM          string          `json:"pem"` // SubjectPublicKeyInfo, RFC 7468
		JWK          json.RawMessage `json:"jwk"` // RFC 7517; kid is the thumbprint of RFC 7638
	}
	Keystore struct {
		ID           string `json:"id"`
		Driver       string `json:"driver"`
		Active       bool   `json:"active"`
		FIPS         string `json:"fips"` // "140-3 level 1, certificate 5247 (active)" or "no claim"
		Jurisdiction string `json:"jurisdiction"`
		Environment  string `json:"environment"`
		Custody      string `json:"custody"`
		Location     string `json:"location"`
		ShareSet     string `json:"share_set,omitempty"`
		Threshold    int    `json:"threshold,omitempty"`
		Total        int    `json:"total,omitempty"`
		Confirmed    int    `json:"confirmed,omitempty"`
		Simulated    bool   `json:"simulated,omitempty"`
		Status       string `json:"status"` // registered, retired, zeroised
		Controller   string `json:"controller"`
		// FIPSStandard to Tenancy are the governed facts, one by one; FIPS words what counts of them today.
		FIPSStandard      string `json:"fips_standard,omitempty"`
		FIPSLevel         int    `json:"fips_level"`
		Certificate       string `json:"certificate,omitempty"`
		CertificateStatus string `json:"certificate_status,omitempty"` // today, whatever was recorded
		CertificateFrom   string `json:"certificate_from,omitempty"`
		CertificateUntil  string `json:"certificate_until,omitempty"`
		Tenancy           string `json:"tenancy"`
		MaxKeys           int    `json:"max_keys,omitempty"`
		// Makes are the keys that its record lets be made; Offers those that its driver on this node makes.
		Makes  []string `json:"makes"`
		Offers []string `json:"offers,omitempty"`
		// Takes are the keys made elsewhere that it takes, by form: "wrapped", "components".
		Takes map[string][]string `json:"takes,omitempty"`
		// Beyond is what the record claims and the driver on this node does not prove.
		Beyond []string `json:"beyond,omitempty"`
		// Members of a group, in order of preference; MemberOf is the group that it is one of. Degraded counts the key
		// versions that not every serving member holds.
		Members     []GroupMember `json:"members,omitempty"`
		MemberOf    string        `json:"member_of,omitempty"`
		Degraded    int           `json:"degraded,omitempty"`
		ReadAtRest  string        `json:"read_at_rest"`
		ReadInUse   string        `json:"read_in_use"`
		GovRevision uint64        `json:"gov_revision"`
		// Token is the device that it is; none where its driver speaks to none.
		Token *Device `json:"token,omitempty"`
	}
	// Device is a token that is a keystore, as it was found when it was registered.
	Device struct {
		Module       string `json:"module"` // name in the nodes' configuration
		Label        string `json:"label"`
		Serial       string `json:"serial"`
		Manufacturer string `json:"manufacturer,omitempty"`
		Model        string `json:"model,omitempty"`
		Firmware     string `json:"firmware,omitempty"`
		// InitialisedAt and InitialisedBy say when and by which ceremony it was taken over; none: not yet.
		InitialisedAt *time.Time `json:"initialised_at,omitempty"`
		InitialisedBy string     `json:"initialised_by,omitempty"`
	}
	// Share is a custodian's own sealed share and what is needed to prove it.
	Share struct {
		Set        string `json:"set"`
		Epoch      uint32 `json:"epoch"`
		Index      int    `json:"index"`
		Custodian  string `json:"custodian"`
		Status     string `json:"status"`
		InUse      bool   `json:"in_use,omitempty"` // of the epoch in force or pending of its set, and not lost
		Commitment []byte `json:"commitment"`
		Sealed     string `json:"sealed,omitempty"`    // only to its custodian
		Challenge  string `json:"challenge,omitempty"` // only to its custodian: sign it to confirm or drill
	}
	Person struct {
		ID             string     `json:"id"`
		Name           string     `json:"name"`
		StaffNumber    string     `json:"staff_number,omitempty"`
		Organisation   string     `json:"organisation,omitempty"`
		Until          *time.Time `json:"until,omitempty"` // when an engagement ends by itself
		Roles          []string   `json:"roles"`
		Groups         []string   `json:"groups,omitempty"`
		Team           string     `json:"team"`
		Site           string     `json:"site"`
		Manager        string     `json:"manager,omitempty"`
		Backup         string     `json:"backup,omitempty"` // who stands in for them
		Status         string     `json:"status"`
		AcknowledgedAt *time.Time `json:"acknowledged_at,omitempty"`
		AckExpiresAt   *time.Time `json:"acknowledgement_expires_at,omitempty"`
		LastActiveAt   *time.Time `json:"last_active_at,omitempty"` // give or take a day
		ApprovalKeyIDs []string   `json:"approval_key_ids"`         // of those that may sign
		// ShareKeyID and BackupShareKeyID name the keys that shares are sealed to.
		ShareKeyID       string       `json:"share_key_id,omitempty"`
		BackupShareKeyID string       `json:"backup_share_key_id,omitempty"`
		AddedAt          time.Time    `json:"added_at"`
		AddedBy          string       `json:"added_by"`
		SuspendedAt      *time.Time   `json:"suspended_at,omitempty"`
		SuspendedReason  string       `json:"suspended_reason,omitempty"`
		SuspendedBy      string       `json:"suspended_by,omitempty"`
		LeftAt           *time.Time   `json:"left_at,omitempty"`
		LeftReason       string       `json:"left_reason,omitempty"`
		Credentials      []Credential `json:"credentials,omitempty"` // all approval keys; of one person asked for alone
	}
	// ShareSet is how one keystore's secret is shared, now and after the cutover that is prepared.
	ShareSet struct {
		ID        string        `json:"id"`
		Keystore  string        `json:"keystore"`
		Status    string        `json:"status"` // "in force", "pending", "abandoned", "re-issued, 5 old shares unproven", …
		Epoch     uint32        `json:"epoch"`  // in force; 0 for none yet
		Threshold int           `json:"threshold"`
		Total     int           `json:"total"`
		Confirmed int           `json:"confirmed"`
		Lost      int           `json:"lost"`
		IssuedAt  time.Time     `json:"issued_at,omitzero"`
		Pending   *PendingEpoch `json:"pending,omitempty"`
		Old       []OldEpoch    `json:"old,omitempty"` // epochs no longer in force with shares not proven destroyed
		// ReplacedBy is the set that opens the keystore in this one's place.
		ReplacedBy string `json:"replaced_by,omitempty"`
	}
	// PendingEpoch waits for its confirmations and the cutover.
	PendingEpoch struct {
		Epoch     uint32    `json:"epoch"`
		Threshold int       `json:"threshold"`
		Total     int       `json:"total"`
		Confirmed int       `json:"confirmed"`
		Needed    int       `json:"needed"` // confirmations before the cutover
		IssuedAt  time.Time `json:"issued_at"`
		IssuedBy  string    `json:"issued_by"` // ceremony
	}
	OldEpoch struct {
		Epoch        uint32    `json:"epoch"`
		Threshold    int       `json:"threshold"`
		Unproven     int       `json:"unproven"`
		Opens        bool      `json:"opens"` // enough are unproven to open a copy of the database of that time
		SupersededAt time.Time `json:"superseded_at,omitzero"`
		Backups      int       `json:"backups"` // registered ones that may still exist and hold what it opens
	}
	BackupSchedule struct {
		ID           string `json:"id"`
		Directory    string `json:"directory"`
		EveryMinutes int    `json:"every_minutes"`
		Keep         int    `json:"keep"`
		ShareSet     string `json:"share_set"`
		Epoch        uint32 `json:"epoch"`
		KeyID        string `json:"key_id"`
		Status       string `json:"status"`
		DecidedBy    string `json:"decided_by"`
	}
	Backup struct {
		ID       string     `json:"id"`
		Schedule string     `json:"schedule"`
		File     string     `json:"file"`
		Bytes    int64      `json:"bytes"`
		SHA256   string     `json:"sha256"`
		Size     uint64     `json:"size"` // ledger entries
		Root     string     `json:"root"`
		Rows     uint64     `json:"rows"`
		ShareSet string     `json:"share_set"`
		Epoch    uint32     `json:"epoch"`
		Node     string     `json:"node"`
		At       time.Time  `json:"at"`
		Status   string     `json:"status"` // present, expired, deleted
		GoneAt   *time.Time `json:"gone_at,omitempty"`
		GoneBy   string     `json:"gone_by,omitempty"`
		DrillAt  *time.Time `json:"drill_at,omitempty"` // last restore test
	}
	// Recovery is one recovery epoch. Document is the row that the ledger binds, for whoever judges it.
	Recovery struct {
		ID           string    `json:"id"`
		Size         uint64    `json:"size"` // entries of the backup
		At           time.Time `json:"at"`
		People       []string  `json:"people"`
		Witnesses    []string  `json:"witnesses"`
		Restrictions []string  `json:"restrictions"`
		Deviations   []string  `json:"deviations"`
		Document     []byte    `json:"document"`
	}
	// Status is what anybody may know of the service.
	Status struct {
		Instance     string     `json:"instance"`
		Name         string     `json:"name"`
		Mode         string     `json:"mode"`
		Node         string     `json:"node"`
		Version      string     `json:"version"`
		Ready        bool       `json:"ready"`
		Problems     []string   `json:"problems,omitempty"` // why not ready, or degraded
		FIPS         string     `json:"fips"`
		PolicyDigest string     `json:"policy_digest"`
		Keystores    []Keystore `json:"keystores,omitempty"` // only to authenticated callers
		LedgerSize   uint64     `json:"ledger_size"`
		LogKey       *LogKey    `json:"log_key,omitempty"` // only to authenticated callers
		Time         time.Time  `json:"time"`
	}
	// LogKey is the key that signs the ledger.
	LogKey struct {
		Key     string    `json:"key"` // note verifier key
		Since   time.Time `json:"since"`
		AgeDays int       `json:"age_days"`
		Due     []string  `json:"due,omitempty"` // why it should be replaced
	}
)

// Ceremonies. A Ceremony on the wire is ceremony.Ceremony's own JSON.
type (
	ProposeRequest struct {
		Operation string          `json:"operation"`
		Params    json.RawMessage `json:"params"`
		Reason    string          `json:"reason"`
	}
	// ProposeResponse carries the ceremony and, once and never again, a secret it delivered.
	ProposeResponse struct {
		Ceremony json.RawMessage `json:"ceremony"`
		Once     string          `json:"once,omitempty"` // e.g. a token, shown this one time
	}
	// StatementResponse holds the exact bytes the caller would sign for a decision.
	StatementResponse struct {
		Payload []byte `json:"payload"`
	}
	VoteRequest struct {
		Envelope json.RawMessage `json:"envelope"` // DSSE over the statement
	}
	ShareSubmission struct {
		Envelope json.RawMessage `json:"envelope"` // the holder's signed approval (decision "approve")
		Sealed   string          `json:"sealed"`   // JWE of the encoded share, to the collector key
	}
	ComponentSubmission struct {
		Envelope json.RawMessage `json:"envelope,omitempty"` // the custodian's signed approval, where not given before
		Sealed   string          `json:"sealed"`             // JWE of the encoded component, to the collector key
	}
	CancelRequest struct {
		Reason string `json:"reason"`
	}
	// Node is a machine that serves the instance, or did.
	Node struct {
		ID            string     `json:"id"`
		Key           string     `json:"key"` // RFC 7638 thumbprint of its public key
		Fingerprint   string     `json:"fingerprint"`
		Here          bool       `json:"here"` // it is the one that answers
		EnrolledAt    *time.Time `json:"enrolled_at,omitempty"`
		EnrolledBy    string     `json:"enrolled_by"` // ceremony, or "genesis"
		HandOver      bool       `json:"hand_over"`   // activation secrets may be handed to it
		RevokedAt     *time.Time `json:"revoked_at,omitempty"`
		RevokedBy     string     `json:"revoked_by,omitempty"`
		RevokedReason string     `json:"revoked_reason,omitempty"`
	}
	// NodeDocument is what a node signed: a list of nodes, or the keys of the instance for one of them.
	NodeDocument struct {
		Envelope json.RawMessage `json:"envelope"`
	}
	// Collector is the node's signed statement of its boot-time collector key.
	Collector struct {
		Envelope json.RawMessage `json:"envelope"` // DSSE by the node key over CollectorKey
	}
	CollectorKey struct {
		Instance string          `json:"instance"`
		Node     string          `json:"node"`
		Boot     string          `json:"boot"`
		Key      json.RawMessage `json:"key"` // P-256 public JWK
		At       time.Time       `json:"at"`
	}
)

// Policy.
type (
	// PlaceRequest asks about a key that is there (key, and nothing else), or about one that might be.
	PlaceRequest struct {
		Key            string   `json:"key,omitempty"`
		Classification string   `json:"classification,omitempty"`
		Impact         string   `json:"impact,omitempty"`
		Frameworks     []string `json:"frameworks,omitempty"`
		Jurisdiction   string   `json:"jurisdiction,omitempty"`
		Environment    string   `json:"environment,omitempty"`
		Custody        string   `json:"custody,omitempty"`
		Algorithm      string   `json:"algorithm,omitempty"` // none: aes-256
	}
	PlaceResponse struct {
		Candidates   []PlaceCandidate `json:"candidates"`  // best first
		BestFirst    string           `json:"best_first"`  // what best means
		LeastLevel   int              `json:"least_level"` // FIPS level that the key needs; 0 for none
		Validated    bool             `json:"validated"`   // a module with a certificate in force is needed
		PolicyDigest string           `json:"policy_digest"`
		// Models says for every custody model who can read a key under it, in a device and as a stored, wrapped key.
		Models []CustodyModel `json:"custody_models"`
	}
	PlaceCandidate struct {
		Keystore       string   `json:"keystore"`
		Allowed        bool     `json:"allowed"`
		Home           bool     `json:"home,omitempty"` // new versions of the key that was asked about are made here
		EffectiveLevel int      `json:"effective_level"`
		FIPS           string   `json:"fips"`
		Custody        string   `json:"custody"`
		Tenancy        string   `json:"tenancy"`
		Active         bool     `json:"active"`
		ReadAtRest     string   `json:"read_at_rest"` // who can read the key at rest
		ReadInUse      string   `json:"read_in_use"`
		Reasons        []Reason `json:"reasons,omitempty"`
		// Exceptions in force that bear on it; an allow may rest on them.
		Exceptions []string `json:"exceptions,omitempty"`
	}
	CustodyModel struct {
		Model      string `json:"model"`
		StoresKeys bool   `json:"stores_keys"`
		ReadAtRest string `json:"read_at_rest"`
		ReadInUse  string `json:"read_in_use"`
	}
	// WhatIfRequest supposes one change: parameters of keystore.alter, of key.reclassify, or a stored bundle's digest.
	WhatIfRequest struct {
		Keystore json.RawMessage `json:"keystore,omitempty"`
		Key      json.RawMessage `json:"key,omitempty"`
		Bundle   string          `json:"bundle,omitempty"`
	}
	WhatIf struct {
		Stranded int            `json:"stranded"`        // keys that would not be let stay, and are now
		NoNew    int            `json:"no_new_versions"` // keys that would stay without new versions, and get them now
		Changes  []WhatIfChange `json:"changes"`         // at most 200 groups of keys that stand otherwise, the worst first
		More     int            `json:"more,omitempty"`  // further groups
	}
	WhatIfChange struct {
		Facts    string   `json:"facts"`
		Keystore string   `json:"keystore"`
		Count    int      `json:"count"`
		Keys     []string `json:"keys"` // at most 100
		Before   string   `json:"before"`
		After    string   `json:"after"`
		State    string   `json:"state"` // fits, stays, stranded
		Worse    bool     `json:"worse"`
		MayLive  []string `json:"may_live"`
		Reasons  []Reason `json:"reasons,omitempty"`
	}
	ExplainRequest struct {
		Point string          `json:"point"` // authorise, place, quorum, lifecycle
		Input json.RawMessage `json:"input"`
	}
	ExplainResponse struct {
		Decision json.RawMessage `json:"decision"`
		Trace    string          `json:"trace"`
	}
	// Decision is what `conclave why` shows.
	Decision struct {
		ID         string          `json:"id"`
		Seq        uint64          `json:"seq"`
		At         time.Time       `json:"at"`
		Type       string          `json:"type"`
		Actor      string          `json:"actor"`
		Origin     string          `json:"origin"`
		Target     string          `json:"target"`
		Outcome    string          `json:"outcome"`
		Code       string          `json:"code,omitempty"`
		ReasonCode string          `json:"reason_code,omitempty"` // why the caller did it, in their words of the table
		Breakglass string          `json:"breakglass,omitempty"`  // ceremony that opened the emergency access used
		Reasons    []Reason        `json:"reasons,omitempty"`
		Policy     string          `json:"policy"`
		Entry      json.RawMessage `json:"entry,omitempty"`
		Inclusion  []string        `json:"inclusion,omitempty"` // base64 hashes, RFC 6962
		Checkpoint string          `json:"checkpoint,omitempty"`
	}
)

// Reports.
type ReportRequest struct {
	Framework string    `json:"framework,omitempty"` // "pci-dss-4.0.1"
	Register  string    `json:"register,omitempty"`  // instead of a framework: a list that judges nothing, as "architecture"
	From      time.Time `json:"from"`
	To        time.Time `json:"to,omitzero"` // none: now
}

// ReportJob is a report that is being made, or was.
type ReportJob struct {
	ID         string    `json:"id"`
	State      string    `json:"state"` // running, done, failed
	Format     string    `json:"format"`
	Stage      string    `json:"stage,omitempty"`
	Read       uint64    `json:"read"` // ledger entries
	Of         uint64    `json:"of"`
	Bytes      int64     `json:"bytes"`
	SHA256     string    `json:"sha256,omitempty"`
	Checkpoint uint64    `json:"checkpoint,omitempty"` // size of the ledger that it is of
	Error      string    `json:"error,omitempty"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
}
