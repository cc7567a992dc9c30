package demo

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/reports/bundle"
)

// Files that show the offline verifiers at work.
const (
	verifierPage  = "verify.html"
	tamperedFiles = "tampered"
)

// forgery is a bundle that somebody made false, the trust file that it is held to, and what must be said of it.
type forgery struct {
	name, story string
	data        []byte
	trust       *ledger.TrustFile
	want        error
}

// tellForgeries makes false copies of a bundle and shows that each is refused for its own reason.
func (d *demo) tellForgeries(ctx context.Context, path string) error {
	page, err := bundle.Page()
	if err != nil {
		return err
	}
	if err := ledger.WriteFileAtomic(filepath.Join(d.dir, verifierPage), page, 0o644); err != nil {
		return err
	}
	forgeries, err := d.forgeries(ctx, path)
	if err != nil {
		return fmt.Errorf("making false copies of the bundle: %w", err)
	}
	dir := filepath.Join(d.dir, tamperedFiles)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range forgeries {
		copied := filepath.Join(dir, f.name+".zip")
		if err := ledger.WriteFileAtomic(copied, f.data, 0o600); err != nil {
			return err
		}
		_, err := bundle.Verify(ctx, copied, f.trust)
		if !errors.Is(err, f.want) {
			return fmt.Errorf("bundle %s: want it refused because %w, got %w", copied, f.want, err)
		}
		d.say("%s: %v.", f.story, strings.TrimPrefix(err.Error(), "verifying bundle: "))
	}
	d.say("The same without a program: open %s in a browser, choose the bundle and the trust file.", d.shown(verifierPage))
	return nil
}

func (d *demo) forgeries(ctx context.Context, path string) ([]forgery, error) {
	whole, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	own, err := d.nodeSigner()
	if err != nil {
		return nil, err
	}
	stranger, err := strangersSigner()
	if err != nil {
		return nil, err
	}
	newer, err := d.trustSeenSince(ctx)
	if err != nil {
		return nil, err
	}
	edited, err := altered(whole, nil, func(files map[string][]byte) error {
		files["report.json"] = bytes.Replace(files["report.json"], []byte(`"violated"`), []byte(`"satisfied"`), 1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	foreign, err := altered(whole, stranger, func(map[string][]byte) error { return nil })
	if err != nil {
		return nil, err
	}
	leftOut, err := altered(whole, own, inPeriod(func(entries [][]byte) [][]byte { return slices.Delete(entries, len(entries)/2, len(entries)/2+1) }))
	if err != nil {
		return nil, err
	}
	reordered, err := altered(whole, own, inPeriod(func(entries [][]byte) [][]byte {
		i := len(entries) / 2
		entries[i], entries[i+1] = entries[i+1], entries[i]
		return entries
	}))
	if err != nil {
		return nil, err
	}
	rewritten, err := altered(whole, own, inPeriod(func(entries [][]byte) [][]byte {
		for i := range entries {
			entries[i] = bytes.Replace(entries[i], []byte(`"outcome":"deny"`), []byte(`"outcome":"allow"`), 1)
		}
		return entries
	}))
	if err != nil {
		return nil, err
	}
	return []forgery{
		{"cut", "Cut in the middle", whole[:len(whole)/2], d.Trust, bundle.ErrFormat},
		{"edited", "The violated control made satisfied", edited, d.Trust, bundle.ErrAltered},
		{"stranger", "Signed anew by a stranger", foreign, d.Trust, bundle.ErrSignature},
		{"left-out", "An entry left out by the node itself, all signed anew", leftOut, d.Trust, bundle.ErrLeftOut},
		{"reordered", "Two entries swapped by the node itself", reordered, d.Trust, bundle.ErrLeftOut},
		{"rewritten", "Refusals made allowances by the node itself", rewritten, d.Trust, bundle.ErrLeftOut},
		{"older", "The good bundle, held to a checkpoint that was seen since", whole, newer, bundle.ErrRollback},
	}, nil
}

// trustSeenSince is the trust file of somebody who has seen the ledger as it is now.
func (d *demo) trustSeenSince(ctx context.Context) (*ledger.TrustFile, error) {
	auditor, err := d.Bearer(d.state.AuditorToken)
	if err != nil {
		return nil, err
	}
	_, note, err := auditor.CheckLedger(ctx, d.Trust, filepath.Join(d.dir, "seen"))
	if err != nil {
		return nil, err
	}
	newer := *d.Trust
	newer.Least = string(note)
	return &newer, nil
}

// altered is a bundle with its files changed and, with a signer, its manifest made to fit and signed.
func altered(whole []byte, signer dsse.Signer, change func(files map[string][]byte) error) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		files[f.Name], err = io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
	}
	if err := change(files); err != nil {
		return nil, err
	}
	if signer != nil {
		if err := fitManifest(files, signer); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return out.Bytes(), err
}

// fitManifest lists the files as they are now and signs the list.
func fitManifest(files map[string][]byte, signer dsse.Signer) error {
	var manifest map[string]any
	if err := json.Unmarshal(files["MANIFEST.json"], &manifest); err != nil {
		return err
	}
	var list []map[string]any
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, "MANIFEST") {
			continue
		}
		sum := sha256.Sum256(files[name])
		list = append(list, map[string]any{"path": name, "bytes": len(files[name]), "sha256": hex.EncodeToString(sum[:])})
	}
	manifest["files"] = list
	raw, err := json.Marshal(manifest) // of maps: members in order
	if err != nil {
		return err
	}
	files["MANIFEST.json"] = raw
	files["MANIFEST.dsse.json"], err = dsse.SignUpTo(signer, bundle.PayloadType, raw, 64<<20)
	return err
}

// inPeriod changes the entries of the period's first file.
func inPeriod(change func(entries [][]byte) [][]byte) func(files map[string][]byte) error {
	return func(files map[string][]byte) error {
		const name = "ledger/period/000000.entries"
		var entries [][]byte
		for raw, err := range ledger.ReadBundle(files[name]) {
			if err != nil {
				return err
			}
			entries = append(entries, bytes.Clone(raw))
		}
		var out []byte
		var err error
		for _, raw := range change(entries) {
			if out, err = ledger.AppendBundle(out, raw); err != nil {
				return err
			}
		}
		files[name] = out
		return nil
	}
}

// nodeSigner signs as the node does: whoever has its data directory can.
func (d *demo) nodeSigner() (dsse.Signer, error) {
	raw, err := os.ReadFile(filepath.Join(d.data, "keys", "node.key"))
	if err != nil {
		return nil, err
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	private, ok := key.Key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the node's key is of another kind")
	}
	return dsse.NewSigner(private)
}

func strangersSigner() (dsse.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return dsse.NewSigner(key)
}
