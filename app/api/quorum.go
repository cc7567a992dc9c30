package api

import "time"

// The wire form of quorum health, with the members of package quorum's own JSON; a test in app/cli holds the two
// together.
type (
	QuorumHealth struct {
		At           time.Time        `json:"at"`
		PolicyDigest string           `json:"policy_digest"`
		Active       int              `json:"active_people"`
		Sets         []ShareSetHealth `json:"share_sets"`
		Operations   []Outlook        `json:"operations"`
		Overdue      []Overdue        `json:"overdue"`
	}
	// ShareSetHealth is one share set: custody now, and its size and spread held against the rules.
	ShareSetHealth struct {
		Set            string   `json:"set"`
		Opens          string   `json:"opens"`
		Epoch          uint32   `json:"epoch"`
		Threshold      int      `json:"threshold"`
		Total          int      `json:"total"`
		Usable         int      `json:"usable"`
		Confirmed      int      `json:"confirmed"`
		Lost           int      `json:"lost"`
		LossesSurvived int      `json:"losses_survived"` // negative: the quorum cannot be reached
		Exposed        bool     `json:"exposed"`         // lost shares alone make a quorum
		Warnings       []string `json:"warnings,omitempty"`
		Sizing         Sizing   `json:"sizing"`
	}
	Sizing struct {
		Rules   []SizingRule `json:"rules"`
		Presets []string     `json:"presets,omitempty"`
		Good    bool         `json:"good"`
	}
	SizingRule struct {
		Name  string `json:"name"`
		Holds bool   `json:"holds"`
		Says  string `json:"says"`
	}
	// Outlook is how one operation on one kind of target stands.
	Outlook struct {
		Operation  string   `json:"operation"`
		Target     string   `json:"target,omitempty"` // protected, unprotected
		Set        string   `json:"share_set,omitempty"`
		Class      string   `json:"class,omitempty"`
		Ready      bool     `json:"ready"`
		Lack       string   `json:"lack,omitempty"`
		Losses     Losses   `json:"losses"`
		CanAsk     int      `json:"can_ask"`
		CanApprove int      `json:"can_approve"`
		CanAttend  int      `json:"can_attend,omitempty"`
		Act        []Place  `json:"act_alone,omitempty"`
		Block      []Place  `json:"block_alone,omitempty"`
		Requesters []Asking `json:"requesters,omitempty"` // only where one operation is asked for
		Approvers  []string `json:"approvers,omitempty"`
		Witnesses  []string `json:"witnesses,omitempty"`
	}
	// Losses is how many people, whoever they are, an operation can lose and still find a quorum.
	Losses struct {
		Survived int      `json:"survived"` // -1: none can be found as it is
		AtLeast  bool     `json:"at_least,omitempty"`
		Critical []string `json:"critical,omitempty"`
	}
	Place struct {
		Kind string `json:"kind"` // site, team, line
		Name string `json:"name"`
	}
	Asking struct {
		Person    string `json:"person"`
		Ready     bool   `json:"ready"`
		Lack      string `json:"lack,omitempty"`
		Approvers int    `json:"approvers"`
	}
	Overdue struct {
		Kind   string     `json:"kind"` // acknowledgement, confirmation, sign-in, drill, rehearsal, reconstruction, table-top, site-missing
		Person string     `json:"person"`
		Set    string     `json:"share_set,omitempty"`
		Due    *time.Time `json:"due,omitempty"`
		Late   bool       `json:"late"`
	}
)

// Supposition is what somebody wonders about, and Simulation what it would come to. Nothing of it happens.
type (
	Supposition struct {
		Remove  []string            `json:"remove,omitempty"`
		Suspend []string            `json:"suspend,omitempty"`
		Resume  []string            `json:"resume,omitempty"`
		Roles   map[string][]string `json:"roles,omitempty"` // by person: what they would hold
		Add     []Newcomer          `json:"add,omitempty"`
		Sets    map[string]NewSet   `json:"share_sets,omitempty"`
		Policy  string              `json:"policy,omitempty"` // digest of the bundle that would be in force
	}
	Newcomer struct {
		ID      string   `json:"id"`
		Roles   []string `json:"roles"`
		Team    string   `json:"team"`
		Site    string   `json:"site"`
		Manager string   `json:"manager,omitempty"`
	}
	NewSet struct {
		Threshold int      `json:"threshold"`
		Holders   []string `json:"holders"` // one share each
	}
	Simulation struct {
		Assumes    string         `json:"assumes"`
		Refused    []Reason       `json:"refused"`
		Sets       []SetChange    `json:"share_sets"`
		Operations []QuorumChange `json:"operations"`
	}
	SetChange struct {
		Set    string   `json:"share_set"`
		Opens  string   `json:"opens"`
		Before SetStand `json:"before"`
		After  SetStand `json:"after"`
	}
	SetStand struct {
		Threshold int      `json:"threshold"`
		Total     int      `json:"total"`
		Holders   []string `json:"holders"`
		Survives  int      `json:"losses_survived"`
		Sizing    Sizing   `json:"sizing"`
	}
	QuorumChange struct {
		Operation string `json:"operation"`
		Target    string `json:"target,omitempty"`
		Set       string `json:"share_set,omitempty"`
		Class     string `json:"class,omitempty"`
		Before    Stand  `json:"before"`
		After     Stand  `json:"after"`
		Verdict   string `json:"verdict"` // lost, weaker, same, stronger, regained
	}
	Stand struct {
		Ready  bool   `json:"ready"`
		Lack   string `json:"lack,omitempty"`
		Losses Losses `json:"losses"`
	}
)

// Calls to attend a ceremony.
type (
	CallRequest struct {
		People              []string  `json:"people,omitempty"` // none: everybody who could still take part
		At                  time.Time `json:"at"`
		Minutes             int       `json:"minutes,omitempty"` // 0 for 60
		Place               string    `json:"place"`
		AnswerWithinSeconds int64     `json:"answer_within_seconds,omitempty"` // 0 for four hours
	}
	AnswerRequest struct {
		Answer string `json:"answer"` // accepted, declined
		Reason string `json:"reason,omitempty"`
	}
	Call struct {
		At           time.Time    `json:"at"`
		Minutes      int          `json:"minutes"`
		Place        string       `json:"place"`
		AnswerWithin int64        `json:"answer_within_ns"`
		CalledBy     string       `json:"called_by"`
		CalledAt     time.Time    `json:"called_at"`
		Sequence     int          `json:"sequence"`
		People       []Invitation `json:"people"`
	}
	Invitation struct {
		Person     string     `json:"person"`
		BackupFor  string     `json:"backup_for,omitempty"`
		CalledAt   time.Time  `json:"called_at"`
		AnswerBy   time.Time  `json:"answer_by"`
		Answer     string     `json:"answer,omitempty"` // accepted, declined, lapsed; "" while it is awaited
		AnsweredAt *time.Time `json:"answered_at,omitempty"`
		Reason     string     `json:"reason,omitempty"`
		AttendedAt *time.Time `json:"attended_at,omitempty"`
		Note       string     `json:"note,omitempty"`
	}
)
