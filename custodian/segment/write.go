package segment

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// Names in the file. Entry bundles have the paths of C2SP tlog-tiles ([ledger.EntriesPath]).
const (
	manifestName   = "segment.json"
	checkpointName = "checkpoint"
	coverName      = "cover.hashes"
)

// Manifest is what a segment says of itself; nothing of it is believed before it is verified.
type Manifest struct {
	Format   string    `json:"format"`
	Instance string    `json:"instance"` // hex SHA-256 of the genesis file
	From     uint64    `json:"from"`
	To       uint64    `json:"to"`
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
	Control  uint64    `json:"control_entries"`
}

// Content is what a segment is made of.
type Content struct {
	Instance   string
	From, To   uint64
	Checkpoint []byte // signed; of at least To entries
	Entries    ledger.EntrySource
	// Hashes gives any hash of the tree of the checkpoint.
	Hashes tlog.HashReader
	Head   ledger.Head // of Checkpoint
}

// Write writes a segment as a stream, in bounded memory. What it writes is worth what [File.Verify] finds afterwards.
func Write(ctx context.Context, to io.Writer, in Content) error {
	if err := checkRun(in.From, in.To); err != nil {
		return err
	}
	cover, err := ledger.ProveCover(in.Head.Size, []ledger.Span{{From: in.From, To: in.To, Height: ledger.TileHeight}}, in.Hashes)
	if err != nil {
		return fmt.Errorf("proving segment %s: %w", ID(in.From, in.To), err)
	}
	w := &writer{zip: zip.NewWriter(to), m: Manifest{Format: Format, Instance: in.Instance, From: in.From, To: in.To}}
	if err := in.Entries.ReadEntries(ctx, in.From, in.To, w.entry); err != nil {
		return fmt.Errorf("writing segment %s: %w", ID(in.From, in.To), err)
	}
	var hashes []byte
	for _, h := range cover {
		hashes = append(hashes, h[:]...)
	}
	manifest, err := json.Marshal(w.m)
	if err != nil {
		return fmt.Errorf("writing segment %s: %w", ID(in.From, in.To), err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{checkpointName, in.Checkpoint}, {coverName, hashes}, {manifestName, manifest}} {
		if err := w.file(f.name, f.data); err != nil {
			return err
		}
	}
	if err := w.zip.Close(); err != nil {
		return fmt.Errorf("writing segment %s: %w", ID(in.From, in.To), err)
	}
	return nil
}

type writer struct {
	zip    *zip.Writer
	m      Manifest
	bundle []byte
}

func (w *writer) entry(seq uint64, raw []byte) error {
	e, err := ledger.Decode(raw)
	if err != nil {
		return fmt.Errorf("entry %d: %w", seq, err)
	}
	if w.bundle, err = ledger.AppendBundle(w.bundle, raw); err != nil {
		return fmt.Errorf("entry %d: %w", seq, err)
	}
	if seq == w.m.From {
		w.m.FirstAt = e.At
	}
	w.m.LastAt = e.At
	if e.Link != nil {
		w.m.Control++
	}
	if seq%ledger.TileWidth != ledger.TileWidth-1 {
		return nil
	}
	err = w.file(ledger.EntriesPath(seq/ledger.TileWidth, ledger.TileWidth), w.bundle)
	w.bundle = w.bundle[:0]
	return err
}

// file adds one, with no time of its own, so that equal segments are equal files.
func (w *writer) file(name string, data []byte) error {
	f, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
