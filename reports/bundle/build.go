package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/render"
)

// Identity is who signs a bundle.
type Identity struct {
	Node   string         // node id
	Key    ledger.NodeKey // its public key
	Signer dsse.Signer    // its private key at work
}

// Build writes the bundle of a report to w. The report must come from src, at src's checkpoint. Apart from an
// ECDSA signature, which is random, the same report gives the same bytes.
func Build(ctx context.Context, w io.Writer, src reports.Source, r *reports.Report, by Identity) error {
	if r.Checkpoint.Note != src.Checkpoint().Note {
		return errors.New("building bundle: the report is of another checkpoint than the source")
	}
	b := &builder{files: map[string][]byte{}}
	if err := b.fill(ctx, src, r, by); err != nil {
		return fmt.Errorf("building bundle: %w", err)
	}
	manifest, err := canonical(b.manifest(r, by.Node))
	if err != nil {
		return fmt.Errorf("building bundle: %w", err)
	}
	envelope, err := dsse.SignUpTo(by.Signer, PayloadType, manifest, maxFile)
	if err != nil {
		return fmt.Errorf("building bundle: %w", err)
	}
	b.files[fileManifest], b.files[fileSignature] = manifest, envelope
	if err := b.write(w); err != nil {
		return fmt.Errorf("writing bundle: %w", err)
	}
	return nil
}

// builder gathers files. A bundle is bounded by what Verify accepts, so it is held in memory.
type builder struct {
	files map[string][]byte
	total int
}

func (b *builder) add(name string, data []byte) error {
	b.total += len(data)
	if len(data) > maxFile || b.total > maxUnpacked || len(b.files) >= maxFiles-2 {
		return faultf(name, ErrTooLarge, "%d bytes after %d files of %d bytes", len(data), len(b.files), b.total)
	}
	b.files[name] = data
	return nil
}

func (b *builder) addJSON(name string, v any) error {
	data, err := canonical(v)
	if err != nil {
		return fault(name, err)
	}
	return b.add(name, data)
}

func (b *builder) fill(ctx context.Context, src reports.Source, r *reports.Report, by Identity) error {
	catalogue, err := control.Load(r.Framework)
	if err != nil {
		return err
	}
	report, err := r.JSON()
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := render.HTML(&page, r); err != nil {
		return err
	}
	return errors.Join(
		b.add(fileReport, report),
		b.add(filePage, page.Bytes()),
		b.add(fileCheckpoint, []byte(r.Checkpoint.Note)),
		b.addJSON(fileCatalogue, catalogue),
		b.addJSON(fileKeys, Keys{LogKeys: r.Checkpoint.LogKeys, NodeKey: by.Key}),
		b.addRows(src, r),
		b.addEntries(ctx, src, r),
	)
}

// addRows adds the authority rows that the report was read from.
func (b *builder) addRows(src reports.Source, r *reports.Report) error {
	wanted := map[control.Ref]bool{}
	kinds := []string{}
	for _, ref := range r.Rows() {
		wanted[ref] = true
		if !slices.Contains(kinds, ref.Kind) {
			kinds = append(kinds, ref.Kind)
		}
	}
	index := RowIndex{Rows: []RowFile{}}
	for _, kind := range kinds {
		for ref, body := range src.Rows(kind) {
			if !wanted[ref] {
				continue
			}
			row := RowFile{Kind: ref.Kind, ID: ref.ID, Revision: ref.Revision, Hash: ref.Hash, Seq: ref.Seq, Withheld: withheld(ref.Kind)}
			if row.Withheld == "" {
				row.File = rowFile(ref)
				if err := b.add(row.File, body); err != nil {
					return err
				}
			}
			index.Rows = append(index.Rows, row)
		}
	}
	return b.addJSON(fileRows, index)
}

var plainID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*([./][a-z0-9_-]+)*$`)

// rowFile names a row's file by its kind and id, or by its hash where the id would make no good name.
func rowFile(ref control.Ref) string {
	name := ref.ID
	if !plainID.MatchString(name) || len(name) > maxName/2 {
		name = ref.Hash
	}
	return "rows/" + ref.Kind + "/" + name + ".json"
}

// addEntries adds every entry that the report cites and, where it is not too long, the whole control plane,
// which shows that the rows are the newest and that none was left out.
func (b *builder) addEntries(ctx context.Context, src reports.Source, r *reports.Report) error {
	put := func(e *ledger.Entry, raw []byte) error {
		hashes, err := src.Inclusion(ctx, e.Seq)
		if err != nil {
			return fmt.Errorf("proving entry %d: %w", e.Seq, err)
		}
		return errors.Join(
			b.add(entryFile(e.Seq), bytes.Clone(raw)),
			b.add(proofFile(e.Seq), formatProof(e.Seq, hashes, []byte(r.Checkpoint.Note))))
	}
	seqs := append([]uint64{0}, r.Cited()...)
	for _, ref := range r.Rows() {
		seqs = append(seqs, ref.Seq)
	}
	slices.Sort(seqs)
	for _, seq := range slices.Compact(seqs) {
		e, raw, err := src.Entry(ctx, seq)
		if err != nil {
			return fmt.Errorf("reading entry %d: %w", seq, err)
		}
		if err := put(e, raw); err != nil {
			return err
		}
	}
	head, err := openCheckpoint([]byte(r.Checkpoint.Note), r.Instance.ID, r.Checkpoint.LogKeys)
	if err != nil {
		return err
	}
	if head.ControlCount > maxControl {
		return nil // Verify says that the control plane is not complete
	}
	err = src.ControlEntries(ctx, r.Checkpoint.Size, func(e *ledger.Entry, raw []byte) error {
		if _, have := b.files[entryFile(e.Seq)]; have {
			return nil
		}
		return put(e, raw)
	})
	if err != nil {
		return fmt.Errorf("reading the control plane: %w", err)
	}
	return nil
}

func (b *builder) manifest(r *reports.Report, node string) Manifest {
	m := Manifest{Format: Format, Instance: r.Instance.ID, Mode: r.Instance.Mode, Node: node, Framework: r.Framework,
		From: r.From, To: r.To, GeneratedAt: r.GeneratedAt, Size: r.Checkpoint.Size, Root: r.Checkpoint.Root}
	for name, data := range b.files {
		sum := sha256.Sum256(data)
		m.Files = append(m.Files, FileHash{Path: name, Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(m.Files, func(a, b FileHash) int { return strings.Compare(a.Path, b.Path) })
	return m
}

func (b *builder) write(w io.Writer) error {
	names := make([]string, 0, len(b.files))
	for name := range b.files {
		names = append(names, name)
	}
	slices.Sort(names)
	z := zip.NewWriter(w)
	for _, name := range names {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			return fault(name, err)
		}
		if _, err := f.Write(b.files[name]); err != nil {
			return fault(name, err)
		}
	}
	return z.Close()
}
