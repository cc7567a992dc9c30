package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"

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
	return build(ctx, w, src, r, by, theBounds())
}

func build(ctx context.Context, w io.Writer, src reports.Source, r *reports.Report, by Identity, limits bounds) error {
	if r.Checkpoint.Note != src.Checkpoint().Note {
		return errors.New("building bundle: the report is of another checkpoint than the source")
	}
	b, err := newBuilder()
	if err != nil {
		return fmt.Errorf("building bundle: %w", err)
	}
	defer b.close()
	if err := b.fill(ctx, src, r, by, limits); err != nil {
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
	if err := b.pack(w, manifest, envelope); err != nil {
		return fmt.Errorf("writing bundle: %w", err)
	}
	return nil
}

func (b *builder) fill(ctx context.Context, src reports.Source, r *reports.Report, by Identity, limits bounds) error {
	catalogue, err := control.Load(r.Framework)
	if err != nil {
		return err
	}
	report, err := r.JSON()
	if err != nil {
		return err
	}
	rows, err := b.addRows(ctx, src, r)
	if err = errors.Join(err, src.Err()); err != nil {
		return err
	}
	return errors.Join(
		b.add(fileReport, report),
		b.write(filePage, func(w io.Writer) error { return render.HTML(w, r) }),
		b.add(fileCheckpoint, []byte(r.Checkpoint.Note)),
		b.addJSON(fileCatalogue, catalogue),
		b.addJSON(fileKeys, Keys{LogKeys: r.Checkpoint.LogKeys, Handovers: r.Checkpoint.Handovers, NodeKey: by.Key}),
		b.addEntries(ctx, src, r, rows),
		b.addLedger(ctx, src, r, limits),
	)
}

// addRows adds the authority rows that the report was read from, and those that show who signed what under which
// policy.
func (b *builder) addRows(ctx context.Context, src reports.Source, r *reports.Report) ([]control.Ref, error) {
	first, end, err := reports.Range(ctx, src, r.From, r.To)
	if err != nil {
		return nil, err
	}
	wanted := map[control.Ref]bool{}
	for _, ref := range append(r.Rows(), witnesses(src, r, first, end)...) {
		wanted[ref] = true
	}
	var refs []control.Ref
	index := RowIndex{Rows: []RowFile{}}
	for _, kind := range kindsOf(wanted) {
		for ref, body := range src.Rows(kind) {
			if !wanted[ref] {
				continue
			}
			refs = append(refs, ref)
			row := RowFile{Kind: ref.Kind, ID: ref.ID, Revision: ref.Revision, Hash: ref.Hash, Seq: ref.Seq, Withheld: withheld(ref.Kind)}
			if row.Withheld == "" {
				row.File = rowFile(ref)
				if err := b.add(row.File, body); err != nil {
					return nil, err
				}
			}
			index.Rows = append(index.Rows, row)
		}
	}
	return refs, b.addJSON(fileRows, index)
}

func kindsOf(refs map[control.Ref]bool) []string {
	kinds := map[string]bool{}
	for ref := range refs {
		kinds[ref.Kind] = true
	}
	return slices.Sorted(maps.Keys(kinds))
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

// addEntries adds every entry that the report cites or that wrote one of the rows, each with a proof of its own.
func (b *builder) addEntries(ctx context.Context, src reports.Source, r *reports.Report, rows []control.Ref) error {
	seqs := append([]uint64{0}, r.Cited()...)
	for _, ref := range rows {
		seqs = append(seqs, ref.Seq)
	}
	slices.Sort(seqs)
	for _, seq := range slices.Compact(seqs) {
		if err := b.single(ctx, src, seq); err != nil {
			return err
		}
	}
	return nil
}

// single adds one entry and its proof, once.
func (b *builder) single(ctx context.Context, src reports.Source, seq uint64) error {
	if _, have := b.files[entryFile(seq)]; have {
		return nil
	}
	_, raw, err := src.Entry(ctx, seq)
	if err != nil {
		return fmt.Errorf("reading entry %d: %w", seq, err)
	}
	hashes, err := src.Inclusion(ctx, seq)
	if err != nil {
		return fmt.Errorf("proving entry %d: %w", seq, err)
	}
	return errors.Join(
		b.add(entryFile(seq), raw),
		b.add(proofFile(seq), formatProof(seq, hashes, []byte(src.Checkpoint().Note))))
}
