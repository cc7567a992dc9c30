package api

import "time"

// What is answered for: holds, retention, reviews, findings, accepted risks, emergency access.
type (
	// Ref names something on record.
	Ref struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	Hold struct {
		ID       string     `json:"id"`
		On       Ref        `json:"on"`
		From     uint64     `json:"from,omitempty"` // ledger entries
		To       uint64     `json:"to,omitempty"`
		What     string     `json:"what"` // in words
		Matter   string     `json:"matter"`
		SetAt    time.Time  `json:"set_at"`
		SetBy    string     `json:"set_by"`
		Ceremony string     `json:"ceremony"`
		LiftedAt *time.Time `json:"lifted_at,omitempty"`
		LiftedBy string     `json:"lifted_by,omitempty"`
	}
	// Retention is how long records of a class are kept: as governed, and as in force with the least that the
	// standards demand.
	Retention struct {
		Class         string     `json:"class"`
		Days          int        `json:"days"`           // in force
		ImmediateDays int        `json:"immediate_days"` // of these, without a restore
		GovernedDays  int        `json:"governed_days"`
		LeastDays     int        `json:"least_days"`
		ChangedAt     *time.Time `json:"changed_at,omitempty"` // none: the default
		ChangedBy     string     `json:"changed_by,omitempty"`
	}
	// Review is what must be, or was, reviewed by somebody who took no part.
	Review struct {
		Ceremony  string     `json:"ceremony"`
		Operation string     `json:"operation"`
		Title     string     `json:"title"`
		By        string     `json:"by"` // who acted
		EndedAt   *time.Time `json:"ended_at,omitempty"`
		DueAt     time.Time  `json:"due_at"`
		Overdue   bool       `json:"overdue"`
		Outcome   string     `json:"outcome,omitempty"` // confirmed, undo, finding; "" while nobody reviewed it
		Note      string     `json:"note,omitempty"`
		Reviewer  string     `json:"reviewer,omitempty"`
		SignedAt  *time.Time `json:"signed_at,omitempty"`
		Recorded  string     `json:"recorded,omitempty"` // ceremony with the signed request
		Finding   string     `json:"finding,omitempty"`
	}
	Finding struct {
		ID       string     `json:"id"`
		Title    string     `json:"title"`
		Source   string     `json:"source"`
		About    Ref        `json:"about"`
		Owner    string     `json:"owner"`
		OpenedAt time.Time  `json:"opened_at"`
		OpenedBy string     `json:"opened_by"`
		DueAt    time.Time  `json:"due_at"`
		Overdue  bool       `json:"overdue"`
		Ceremony string     `json:"ceremony,omitempty"`
		ClosedAt *time.Time `json:"closed_at,omitempty"`
		ClosedBy string     `json:"closed_by,omitempty"`
		Evidence string     `json:"evidence,omitempty"`
	}
	// Control is one that reports judge.
	Control struct {
		Name  string `json:"name"` // framework:id
		Title string `json:"title"`
	}
	// Attestation is what people signed about controls, for a time.
	Attestation struct {
		ID          string     `json:"id"`
		Kind        string     `json:"kind"` // answer, review, document, compensating, override, declared-key, declared-form, declared-history
		Controls    []string   `json:"controls,omitempty"`
		Outcome     string     `json:"outcome,omitempty"`
		Statement   string     `json:"statement"`
		Reference   string     `json:"reference,omitempty"`
		SHA256      string     `json:"sha256,omitempty"`
		CoversFrom  *time.Time `json:"covers_from,omitempty"`
		CoversTo    *time.Time `json:"covers_to,omitempty"`
		Signer      string     `json:"signer"`
		SignedAt    time.Time  `json:"signed_at"`
		ExpiresAt   time.Time  `json:"expires_at"`
		Ceremony    string     `json:"ceremony"`
		WithdrawnAt *time.Time `json:"withdrawn_at,omitempty"`
		WithdrawnBy string     `json:"withdrawn_by,omitempty"`
		InForce     bool       `json:"in_force"`
	}

	Exception struct {
		ID           string     `json:"id"`
		Rule         string     `json:"rule"`
		Key          string     `json:"key,omitempty"`
		Keystore     string     `json:"keystore,omitempty"`
		Control      string     `json:"control,omitempty"`
		Risk         string     `json:"risk"`
		Compensating string     `json:"compensating"`
		Owner        string     `json:"owner"`
		GrantedAt    time.Time  `json:"granted_at"`
		ExpiresAt    time.Time  `json:"expires_at"`
		Ceremony     string     `json:"ceremony"`
		RevokedAt    *time.Time `json:"revoked_at,omitempty"`
		RevokedBy    string     `json:"revoked_by,omitempty"`
		InForce      bool       `json:"in_force"`
	}
	BreakGlass struct {
		ID         string            `json:"id"`
		Kind       string            `json:"kind"`
		Principal  string            `json:"principal"`
		Keys       []string          `json:"keys"`
		Operations []string          `json:"operations"`
		Context    map[string]string `json:"context,omitempty"`
		Reason     string            `json:"reason"`
		OpenedAt   time.Time         `json:"opened_at"`
		ExpiresAt  time.Time         `json:"expires_at"`
		Ceremony   string            `json:"ceremony"`
		ClosedAt   *time.Time        `json:"closed_at,omitempty"`
		ClosedBy   string            `json:"closed_by,omitempty"`
		Open       bool              `json:"open"`
	}
)
