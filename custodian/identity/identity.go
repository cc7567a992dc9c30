// Package identity is the value that says who is calling.
package identity

// Kind is the kind of caller.
type Kind string

const (
	Human       Kind = "human"       // a person in the register, proven by a signature of their approval key
	Application Kind = "application" // a workload, proven by its token
	Auditor     Kind = "auditor"     // reads evidence, nothing else
	Node        Kind = "node"        // this process acting by itself: jobs, recovery, activation requests
)

// Principal is the authenticated caller of one request. It is passed explicitly, never by context value.
type Principal struct {
	Kind       Kind
	ID         string // person, application or node id
	Credential string // id of the key or token that proved it
	Origin     string // network address the request came from
	RequestID  string // unique per request, returned to the caller
}

// String is "kind:id", as the ledger shows it.
func (p Principal) String() string { return string(p.Kind) + ":" + p.ID }
