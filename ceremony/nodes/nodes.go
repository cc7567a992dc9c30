// Package nodes is the documents by which a machine becomes a node of an instance: the request that it makes before
// people approve it, the call by which it asks a serving node for the instance's keys afterwards, the answer, and the list
// of enrolled nodes that trust files are brought up to date with. Each is a DSSE envelope by a node key; formats are in
// docs/wire-formats.md.
package nodes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/backup"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// Reasons why a document is not used.
var (
	ErrDocument  = errors.New("not a document of this kind, or damaged")
	ErrUntrusted = errors.New("not signed by a node that is pinned or enrolled")
	ErrOther     = errors.New("made for another instance, node or moment")
)

const (
	// MaxDocument bounds every document, in bytes: a list of a thousand nodes takes some 250 KiB.
	MaxDocument = 512 << 10
	// MaxRequest bounds the request of one node.
	MaxRequest = 4 << 10
	// JoinLife is how far a call's time and the clock of whoever judges it may be apart (ours).
	JoinLife = 5 * time.Minute
	version  = 1
)

// Request is what a new machine states about itself: the proof that it holds the key which is to be enrolled.
type Request struct {
	Instance  string         `json:"instance"`
	Node      string         `json:"node"`       // id that it is to have
	PublicKey jsontext.Value `json:"public_key"` // JWK
	MadeAt    time.Time      `json:"made_at"`
	V         int            `json:"v"`
}

// SignRequest signs a request with the key that it is about.
func SignRequest(signer dsse.Signer, r Request) ([]byte, error) {
	r.V, r.MadeAt = version, r.MadeAt.UTC().Truncate(time.Second)
	return sign(signer, statement.TypeEnrolment, r)
}

// OpenRequest reads a request and checks that its key signed it.
func OpenRequest(envelope []byte) (*Request, jwk.Key, error) {
	fail := func(err error) (*Request, jwk.Key, error) {
		return nil, jwk.Key{}, fmt.Errorf("enrolment request refused: %w", err)
	}
	if len(envelope) > MaxRequest {
		return fail(fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrDocument, len(envelope), MaxRequest))
	}
	parsed, err := dsse.Parse(envelope)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrDocument, err))
	}
	var r Request
	if err := read(parsed.UnverifiedPayload(), &r); err != nil || r.V != version {
		return fail(ErrDocument)
	}
	key, err := jwk.Parse(r.PublicKey)
	if err != nil {
		return fail(fmt.Errorf("%w: public_key: %w", ErrDocument, err))
	}
	public, err := key.Public()
	if err != nil {
		return fail(fmt.Errorf("%w: public_key: %w", ErrDocument, err))
	}
	pinned, err := ledger.NewNodeKey(r.Node, public)
	if err != nil {
		return fail(fmt.Errorf("%w: public_key: %w", ErrDocument, err))
	}
	if _, _, err := parsed.VerifyNode(statement.TypeEnrolment, []ledger.NodeKey{pinned}); err != nil {
		return fail(fmt.Errorf("%w: its own key did not sign it: %w", ErrDocument, err))
	}
	return &r, key, nil
}

// Join asks a serving node for the keys of the instance. What is given is sealed to Key, which its maker forgets at once,
// so that the call repeated by anybody else gives them nothing.
type Join struct {
	Instance string         `json:"instance"`
	Node     string         `json:"node"`
	Key      jsontext.Value `json:"key"` // P-256 public JWK
	At       time.Time      `json:"at"`
	V        int            `json:"v"`
}

// SignJoin signs a call with the key of an enrolled node.
func SignJoin(signer dsse.Signer, j Join) ([]byte, error) {
	j.V, j.At = version, j.At.UTC().Truncate(time.Millisecond)
	return sign(signer, statement.TypeJoin, j)
}

// OpenJoin reads a call that one of these nodes signed, for this instance, now.
func OpenJoin(envelope []byte, nodes []ledger.NodeKey, instance string, now time.Time) (*Join, shamir.Recipient, error) {
	fail := func(err error) (*Join, shamir.Recipient, error) { return nil, shamir.Recipient{}, err }
	var j Join
	if err := verify(envelope, statement.TypeJoin, nodes, &j, func(node string) bool { return j.Node == node }); err != nil {
		return fail(err)
	}
	if d := now.Sub(j.At); j.V != version || j.Instance != instance || d > JoinLife || d < -JoinLife {
		return fail(fmt.Errorf("%w: at %s for instance %.64q", ErrOther, j.At.Format(time.RFC3339), j.Instance))
	}
	key, err := jwk.Parse(j.Key)
	if err != nil {
		return fail(fmt.Errorf("%w: key: %w", ErrDocument, err))
	}
	to := shamir.Recipient{KeyID: key.Thumbprint(), Key: j.Key}
	if _, err := to.JOSE(); err != nil {
		return fail(fmt.Errorf("%w: key: %w", ErrDocument, err))
	}
	return &j, to, nil
}

// List is who may serve, as a serving node states it.
type List struct {
	Instance   string           `json:"instance"`
	By         string           `json:"by"`
	Nodes      []ledger.NodeKey `json:"nodes"`
	Checkpoint string           `json:"checkpoint"` // signed note of the ledger that says so
	// Handovers show who succeeded the instance's first log key, so that a trust file that pins it can be brought up to date.
	Handovers []string  `json:"handovers,omitempty"`
	At        time.Time `json:"at"`
	V         int       `json:"v"`
}

// SignList signs a list.
func SignList(signer dsse.Signer, n List) ([]byte, error) {
	n.V, n.At = version, n.At.UTC().Truncate(time.Second)
	return sign(signer, statement.TypeNodes, n)
}

// OpenList reads a list that a pinned node of the pinned instance signed, over a ledger that the pinned log key signed.
func OpenList(envelope []byte, trust *ledger.TrustFile) (*List, error) {
	var n List
	if err := verify(envelope, statement.TypeNodes, trust.NodeKeys, &n, func(node string) bool { return n.By == node }); err != nil {
		return nil, err
	}
	if err := n.check(trust); err != nil {
		return nil, err
	}
	return &n, nil
}

func (n *List) check(trust *ledger.TrustFile) error {
	if n.V != version || n.Instance != trust.Instance {
		return fmt.Errorf("%w: instance %.64q", ErrOther, n.Instance)
	}
	if len(n.Nodes) == 0 {
		return fmt.Errorf("%w: it lists no node", ErrDocument)
	}
	for _, k := range n.Nodes {
		if _, err := k.Public(); err != nil {
			return fmt.Errorf("%w: %w", ErrDocument, err)
		}
	}
	chain, err := trust.Chain()
	if err == nil {
		chain, err = chain.Follow(n.Handovers...)
	}
	if err != nil {
		return err
	}
	head, err := chain.Open([]byte(n.Checkpoint))
	if err != nil {
		return fmt.Errorf("checkpoint of the list of nodes: %w", err)
	}
	if least, pinned, err := trust.LeastHead(); err != nil || (pinned && head.Size < least.Size) {
		return errors.Join(fmt.Errorf("%w: its ledger has %d entries, the trust file pins %d", ledger.ErrRollback, head.Size, least.Size), err)
	}
	return nil
}

// Trust is the trust file with the list's nodes and checkpoint in place of its own, and with the log keys that are shown to
// succeed those which it pins.
func (n *List) Trust(old *ledger.TrustFile, now time.Time) (*ledger.TrustFile, error) {
	next, err := old.Follow(n.Handovers...)
	if err != nil {
		return nil, err
	}
	next.NodeKeys, next.Least, next.CreatedAt = n.Nodes, n.Checkpoint, now.UTC().Truncate(time.Second)
	return next, nil
}

// Welcome is what a serving node gives an enrolled one.
type Welcome struct {
	List   List   `json:"list"`
	Node   string `json:"node"`   // who is given it
	KeyID  string `json:"key_id"` // of the call's key
	Sealed string `json:"sealed"` // JWE over the keys of the instance
	V      int    `json:"v"`
}

// sealedType is the JWE "typ" of the instance's keys.
const sealedType = "conclave-instance-keys"

// maxSealed bounds them: three small files.
const maxSealed = 16 << 10

// SealKeys seals the instance's keys, those of its log, context marks and challenges, to the key of a call. A node's own
// key is never among them.
func SealKeys(keys *backup.Keys, to shamir.Recipient) (string, error) {
	shared := backup.Keys{Log: keys.Log, Audit: keys.Audit, Challenge: keys.Challenge}
	value := secret.New(shared.Encode())
	defer value.Wipe()
	sealed, err := shamir.SealValue(sealedType, value, to)
	if err != nil {
		return "", fmt.Errorf("sealing the keys of the instance: %w", err)
	}
	return sealed, nil
}

// SignWelcome signs an answer.
func SignWelcome(signer dsse.Signer, w Welcome) ([]byte, error) {
	w.V, w.List.V, w.List.At = version, version, w.List.At.UTC().Truncate(time.Second)
	return sign(signer, statement.TypeWelcome, w)
}

// OpenWelcome reads the answer to this node's call and opens what is in it. The keys are the caller's to wipe.
func OpenWelcome(envelope []byte, trust *ledger.TrustFile, node string, key *shamir.OpeningKey) (*Welcome, *backup.Keys, error) {
	var w Welcome
	if err := verify(envelope, statement.TypeWelcome, trust.NodeKeys, &w, func(by string) bool { return w.List.By == by }); err != nil {
		return nil, nil, err
	}
	if w.V != version || w.Node != node || w.KeyID != key.KeyID() {
		return nil, nil, fmt.Errorf("%w: for node %.64q", ErrOther, w.Node)
	}
	if err := w.List.check(trust); err != nil {
		return nil, nil, err
	}
	value, err := key.OpenValue(sealedType, w.Sealed, maxSealed)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the keys of the instance: %w", err)
	}
	defer value.Wipe()
	var keys *backup.Keys
	err = value.Use(func(raw []byte) error {
		keys, err = backup.DecodeKeys(raw)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the keys of the instance: %w", err)
	}
	return &w, keys, nil
}

func sign(signer dsse.Signer, payloadType string, v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", payloadType, err)
	}
	payload := jsontext.Value(raw)
	if err := payload.Canonicalize(); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", payloadType, err)
	}
	return dsse.SignUpTo(signer, payloadType, payload, MaxDocument)
}

// verify reads into what one of these nodes signed, where it names the node that did.
func verify(envelope []byte, payloadType string, nodes []ledger.NodeKey, into any, names func(node string) bool) error {
	parsed, err := dsse.ParseUpTo(envelope, MaxDocument)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDocument, err)
	}
	payload, node, err := parsed.VerifyNode(payloadType, nodes)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err := read(payload, into); err != nil {
		return err
	}
	if !names(node) {
		return fmt.Errorf("%w: it names another node than %.64q, which signed it", ErrUntrusted, node)
	}
	return nil
}

func read(payload []byte, into any) error {
	if err := json.Unmarshal(payload, into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return nil
}

// Made is a node key that was made on this machine.
type Made struct {
	Node        string `json:"node"`
	Fingerprint string `json:"fingerprint"` // of its public key, RFC 7638 in groups, to be compared by voice
	DataDir     string `json:"data_dir"`
	Request     string `json:"request"` // path of the enrolment request
}

// Joined is a data directory that has the keys of the instance.
type Joined struct {
	Node      string `json:"node"`
	By        string `json:"by"` // node that gave them
	DataDir   string `json:"data_dir"`
	TrustFile string `json:"trust_file"`
	Entries   uint64 `json:"entries"` // of the ledger that this node holds the database against from now on
}

// Files makes and completes the data directory of a node; the composition root knows how.
type Files struct {
	// Init makes a new directory with a node key and an enrolment request.
	Init func(dir, node string, trust *ledger.TrustFile) (Made, error)
	// Join completes it. call hands a signed call to a serving node and returns its answer.
	Join func(ctx context.Context, dir, node string, trust *ledger.TrustFile, call func(ctx context.Context, envelope []byte) ([]byte, error)) (Joined, error)
}

// Fingerprint is a pinned key's as people compare it; "" for what is no key.
func Fingerprint(k ledger.NodeKey) string {
	public, err := k.Public()
	if err != nil {
		return ""
	}
	key, err := jwk.New(public, "", "")
	if err != nil {
		return ""
	}
	return key.Fingerprint()
}
