package bundle

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/amount"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/reports"
)

// Result is what Verify found. Checked says it in words, one sentence a check.
type Result struct {
	Anchored bool     `json:"anchored"` // checked against a trust file
	Checked  []string `json:"checked"`
	// Complete: the bundle holds the control plane from genesis on, so that no row of it can be missed unseen.
	Complete  bool      `json:"complete"`
	Instance  string    `json:"instance"`
	Mode      string    `json:"mode"`
	Node      string    `json:"node"` // whose key signed
	Framework string    `json:"framework"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Size      uint64    `json:"size"` // of the checkpoint
	Entries   int       `json:"entries"`
	// PeriodEntries is how many entries the period has; all of them are accounted for.
	PeriodEntries uint64 `json:"period_entries"`
	Ceremonies    int    `json:"ceremonies"`
	Witnesses     int    `json:"witnesses"`  // cosignatures by witnesses of the trust file
	Signatures    int    `json:"signatures"` // under ceremonies
	// Keys are people's approval keys, each traced to the genesis file, KeyCeremonies those by which some of them came.
	Keys          int `json:"keys"`
	KeyCeremonies int `json:"key_ceremonies"`
	// SignOffs are signatures over the records of ceremonies held by a script, Acknowledgements signed acceptances of duty,
	// Countersigned the lines of the custody log that two people signed.
	SignOffs         int             `json:"sign_offs"`
	Acknowledgements int             `json:"acknowledgements"`
	Countersigned    int             `json:"countersigned"`
	Rows             int             `json:"rows"`
	Withheld         int             `json:"withheld"`
	Files            int             `json:"files"`
	Counts           map[string]int  `json:"counts"` // the report's verdicts
	Report           *reports.Report `json:"-"`
}

// Words sums the result up in one line.
func (r *Result) Words() string {
	anchor := "self-consistent, unanchored: without a trust file nothing says whose bundle this is"
	if r.Anchored {
		anchor = "genuine: everything holds against the trust file"
	}
	if r.Mode != "production" {
		anchor += "; DEVELOPMENT instance"
	}
	return anchor
}

// Verify checks a bundle offline. trust may be nil: then the bundle is held against itself only, and the
// result says so. The error names the first thing that is wrong.
func Verify(ctx context.Context, path string, trust *ledger.TrustFile) (*Result, error) {
	a, err := openArchive(path)
	if err != nil {
		return nil, err
	}
	defer a.close()
	v := &verifier{archive: a, trust: trust, result: &Result{Anchored: trust != nil}, entries: map[uint64]*ledger.Entry{}, policies: map[string]bool{},
		duties: map[string]bool{}, custody: map[string]*signedCeremony{}, bringing: map[string]*signedCeremony{}, arrivals: map[keyName]arrival{}, uses: map[keyName]use{}, requests: map[string]string{}, roots: map[uint64]tlog.Hash{}}
	steps := []func(context.Context) error{v.signature, v.files, v.checkpoint, v.proofs, v.period, v.handovers, v.witnessed, v.wanted, v.controlPlane, v.periodEntries, v.anchored,
		v.rows, v.genesis, v.transcripts, v.provenance, v.quorums, v.signOffs, v.acknowledgements, v.custodyLog, v.policyBundles, v.report}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("verifying bundle: %w", err)
		}
	}
	return v.result, nil
}

type verifier struct {
	archive  *archive
	trust    *ledger.TrustFile
	result   *Result
	manifest Manifest
	keys     Keys
	chain    *ledger.KeyChain
	// pinnedKeys is how many keys of the chain the trust file, or without one the bundle, names itself.
	pinnedKeys int
	head       ledger.Head
	note       []byte
	entries    map[uint64]*ledger.Entry
	newest     map[rowName]change // by the control-plane entries in the bundle
	index      RowIndex

	span               Period
	least              ledger.Head       // the trust file's checkpoint; zero: none
	continued          bool              // that the log continues it was shown
	startHead, endHead ledger.Head       // of the checkpoints kept around the period; zero: none
	counts             map[string]int    // entries of the period by type; nil where they are not in the bundle
	deletions          []ledger.Deletion // of entries, by the control-plane entries in the bundle
	policies           map[string]bool
	people             map[string]*people.Person
	custody            map[string]*signedCeremony // those that hold signatures under lines of the custody log
	duties             map[string]bool            // acceptances of duty that were checked, by the bytes that were signed
	otherForms         int                        // of these, those of a form that is not known here
	unbound            int                        // of these, those that name no instance

	founders map[string]founder         // by the key's id, as the genesis file has them
	bringing map[string]*signedCeremony // ceremonies by which keys came
	arrivals map[keyName]arrival        // by the control-plane entries in the bundle
	uses     map[keyName]use
	sizes    []uint64             // of the logs that people signed for
	roots    map[uint64]tlog.Hash // that the log had at earlier sizes, as far as the bundle shows them
	rests    rests
	short    error             // of the first ceremony that took place with too few approvals
	requests map[string]string // the ceremony that rests on each signed request, by the SHA-256 of what was signed
}

// keyChain makes the log keys that checkpoints are held to: those of the trust file, or else the first that the bundle
// names, and what handovers in the bundle lead to from there.
func (v *verifier) keyChain() (err error) {
	if v.trust == nil {
		v.pinnedKeys = len(v.keys.LogKeys)
		v.chain, err = chainOf(v.manifest.Instance, v.keys.LogKeys, v.keys.Handovers)
	} else if v.chain, err = v.trust.Chain(); err == nil {
		v.pinnedKeys = len(v.chain.Keys())
		v.chain, err = v.chain.Follow(v.keys.Handovers...)
	}
	switch {
	case errors.Is(err, ledger.ErrFork):
		return fault(fileKeys, fmt.Errorf("%w: %w", ErrFork, err))
	case errors.Is(err, ledger.ErrSignature), errors.Is(err, ledger.ErrHandover):
		return fault(fileKeys, fmt.Errorf("%w: %w", ErrSignature, err))
	case err != nil:
		return fault(fileKeys, fmt.Errorf("%w: %w", ErrCheckpoint, err))
	}
	return nil
}

// chainOf is the chain that begins with the first of some keys.
func chainOf(instance string, keys, handovers []string) (*ledger.KeyChain, error) {
	origin, err := ledger.Origin(instance)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("no log key is named")
	}
	chain, err := ledger.NewKeyChain(origin, keys[0])
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	return chain.Follow(handovers...)
}

// handovers checks that the log continues each checkpoint at which its key was replaced.
func (v *verifier) handovers(context.Context) error {
	for i, note := range v.keys.Handovers {
		handed, err := openCheckpoint([]byte(note), v.chain)
		if err != nil { // one before the pinned key's: nothing here rests on it
			continue
		}
		proof, err := v.hashes(packed(folderHandovers, i, "hashes"))
		if err != nil {
			return err
		}
		if err := ledger.CheckConsistency(tlog.TreeProof(proof), handed, v.head); err != nil {
			return fault(fileKeys, fmt.Errorf("%w: the log of %d entries is not shown to continue the checkpoint of %d at which its key was replaced: %w", ErrFork, v.head.Size, handed.Size, err))
		}
		v.say("The log key was replaced at %d entries; the log continues that checkpoint, which the old key and the new one signed.", handed.Size)
	}
	return nil
}

type rowName struct{ kind, id string }

// change is what an entry did to a row.
type change struct {
	ledger.RowChange
	seq uint64
}

func (v *verifier) say(format string, args ...any) {
	v.result.Checked = append(v.result.Checked, fmt.Sprintf(format, args...))
}

// signature checks who signed the manifest, and that it is about the instance that is trusted.
func (v *verifier) signature(context.Context) error {
	manifest, err := v.archive.read(fileManifest)
	if err != nil {
		return err
	}
	envelope, err := v.archive.read(fileSignature)
	if err != nil {
		return err
	}
	if err := decode(fileManifest, manifest, &v.manifest); err != nil {
		return err
	}
	if v.manifest.Format != Format {
		return faultf(fileManifest, ErrFormat, "format %q, must be %s", clip(v.manifest.Format), Format)
	}
	keyData, err := v.archive.read(fileKeys)
	if err != nil {
		return err
	}
	if err := decode(fileKeys, keyData, &v.keys); err != nil {
		return err
	}
	if v.trust != nil && v.trust.Instance != v.manifest.Instance {
		return faultf(fileManifest, ErrForeignInstance, "instance %s, the trust file is of %s", clip(v.manifest.Instance), v.trust.Instance)
	}
	if v.trust != nil && v.trust.Mode != v.manifest.Mode {
		return faultf(fileManifest, ErrForeignInstance, "%s mode, the trust file is of %s mode", clip(v.manifest.Mode), v.trust.Mode)
	}
	signed, err := dsse.ParseUpTo(envelope, maxFile)
	if err != nil {
		return fault(fileSignature, fmt.Errorf("%w: %w", ErrSignature, err))
	}
	if !bytes.Equal(signed.UnverifiedPayload(), manifest) {
		return faultf(fileManifest, ErrAltered, "it is not what was signed")
	}
	node, err := v.signer(signed)
	if err != nil {
		return fault(fileSignature, fmt.Errorf("%w: %w", ErrSignature, err))
	}
	m := v.manifest
	v.result.Instance, v.result.Mode, v.result.Node, v.result.Framework = m.Instance, m.Mode, node, m.Framework
	v.result.From, v.result.To, v.result.Size, v.result.Files = m.From, m.To, m.Size, len(m.Files)
	return nil
}

// signer checks the signature with a node key that the trust file pins, or without a trust file with the one that
// the bundle names, and returns the node.
func (v *verifier) signer(signed *dsse.Envelope) (string, error) {
	keys := []ledger.NodeKey{v.keys.NodeKey}
	if v.trust != nil {
		keys = v.trust.NodeKeys
	}
	_, node, err := signed.VerifyNode(PayloadType, keys)
	if err != nil {
		return "", err
	}
	if node != v.manifest.Node {
		return "", fmt.Errorf("the key of node %s signed for node %s", clip(node), clip(v.manifest.Node))
	}
	if v.trust != nil {
		v.say("The manifest is signed by the key of node %s, which the trust file pins.", node)
	} else {
		v.say("The manifest is signed by the key that the bundle itself names for node %s.", node)
	}
	return node, nil
}

// files compares what is there with what the manifest lists.
func (v *verifier) files(ctx context.Context) error {
	listed := map[string]bool{fileManifest: true, fileSignature: true}
	for _, f := range v.manifest.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if listed[f.Path] {
			return faultf(fileManifest, ErrFormat, "%s is listed twice", clip(f.Path))
		}
		listed[f.Path] = true
		if !ofTheFormat(f.Path) {
			return faultf(f.Path, ErrExtra, "the format has no such file")
		}
		if err := v.archive.check(f); err != nil {
			return err
		}
		v.archive.listed[f.Path] = f // and whatever is read from here on is held to it again
	}
	for name := range v.archive.files {
		if !listed[name] {
			return fault(name, ErrExtra)
		}
	}
	v.say("All %d files are there, none is extra, and each has the SHA-256 that the manifest states.", len(v.manifest.Files))
	return nil
}

// checkpoint checks who signed it and that the manifest speaks of the same.
func (v *verifier) checkpoint(context.Context) error {
	data, err := v.archive.read(fileCheckpoint)
	if err != nil {
		return err
	}
	if err := v.keyChain(); err != nil {
		return err
	}
	if v.head, err = openCheckpoint(data, v.chain); err != nil {
		return fault(fileCheckpoint, err)
	}
	v.note = data
	if v.head.Size != v.manifest.Size || base64.StdEncoding.EncodeToString(v.head.Root[:]) != v.manifest.Root {
		return faultf(fileCheckpoint, ErrCheckpoint, "it is not the one that the manifest names")
	}
	if v.trust == nil {
		v.say("The checkpoint of %d entries is signed by the log key that the bundle itself names.", v.head.Size)
		return nil
	}
	v.sayKey()
	least, pinned, err := v.trust.LeastHead()
	switch {
	case err != nil:
		return fmt.Errorf("reading the trust file's checkpoint: %w", err)
	case pinned && least.Size > v.head.Size:
		return faultf(fileCheckpoint, ErrRollback, "it has %d entries, the trust file's has %d: the bundle is of an older ledger", v.head.Size, least.Size)
	case pinned && least.Size == v.head.Size && least.Root != v.head.Root:
		return faultf(fileCheckpoint, ErrFork, "it has as many entries as the trust file's and another root")
	case pinned:
		v.least, v.continued = least, least.Size == v.head.Size
	}
	return nil
}

// sayKey says by which right the key that signed the checkpoint is believed.
func (v *verifier) sayKey() {
	n := len(v.chain.Keys()) - v.pinnedKeys
	if n == 0 {
		v.say("The checkpoint of %d entries is signed by a log key that the trust file pins.", v.head.Size)
		return
	}
	v.say("The checkpoint of %d entries is signed by a log key that succeeds the one which the trust file pins: %s, each signed by the key before it and by the new one.",
		v.head.Size, amount.Of(n, "handover"))
}

// openCheckpoint opens a checkpoint with the log keys.
func openCheckpoint(data []byte, keys *ledger.KeyChain) (ledger.Head, error) {
	head, err := keys.Open(data)
	switch {
	case errors.Is(err, ledger.ErrSignature):
		return head, fmt.Errorf("%w: %w", ErrSignature, err)
	case err != nil:
		return head, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	case head.Size == 0:
		return head, fmt.Errorf("%w: it covers no entry", ErrCheckpoint)
	}
	return head, nil
}

// sequence reads a sequence number from the name of an entry's file.
func sequence(name string) (uint64, bool) {
	digits, found := strings.CutPrefix(name, "entries/")
	if !found {
		return 0, false
	}
	var seq uint64
	if n, err := fmt.Sscanf(digits, "%d.json", &seq); n != 1 || err != nil || entryFile(seq) != name {
		return 0, false
	}
	return seq, true
}
