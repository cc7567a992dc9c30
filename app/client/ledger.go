package client

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/custodian/ledger"
)

// Checkpoint returns the newest checkpoint, a signed note. Believe it only after [Client.CheckLedger] or
// ledger.OpenHead.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, call{method: http.MethodGet, path: "/v1/ledger/checkpoint", accept: "text/plain"}, maxAnswer)
}

// Handovers returns the checkpoints by which the log key was replaced, oldest first. They prove themselves: see
// ledger.KeyChain.
func (c *Client) Handovers(ctx context.Context) ([]string, error) {
	raw, err := c.raw(ctx, call{method: http.MethodGet, path: "/v1/ledger/handovers", accept: "application/json"}, maxAnswer)
	if err != nil {
		return nil, err
	}
	return ledger.ParseHandovers(raw)
}

// Tile returns one file of the C2SP tlog-tiles tree by its path under the log: "tile/0/x001/234.p/5", or "kept/005".
func (c *Client) Tile(ctx context.Context, path string) ([]byte, error) {
	return c.raw(ctx, call{
		method: http.MethodGet, path: "/v1/ledger/" + path, accept: "application/octet-stream",
	}, maxBundleTile)
}

// EntryFilter selects ledger entries. Zero fields select everything.
type EntryFilter struct {
	From, To            uint64 // sequence numbers, To exclusive, 0 for the end
	Type, Actor, Target string
}

// Entries walks pages of ledger entries as canonical JSON. Of runs that were deleted, which a page names, it has those of the
// control plane.
func (c *Client) Entries(ctx context.Context, f EntryFilter) iter.Seq2[api.LedgerEntries, error] {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if f.From > 0 {
		q.Set("from", strconv.FormatUint(f.From, 10))
	}
	if f.To > 0 {
		q.Set("to", strconv.FormatUint(f.To, 10))
	}
	for name, v := range map[string]string{"type": f.Type, "actor": f.Actor, "target": f.Target} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return walkPages(ctx, c, "/v1/ledger/entries", q, func(p api.LedgerEntries) string { return p.Next })
}

// InclusionProof proves that entry seq is in the log of a size (RFC 6962 section 2.1.1).
func (c *Client) InclusionProof(ctx context.Context, seq, size uint64) (tlog.RecordProof, error) {
	hashes, err := c.proof(ctx, "inclusion", "seq", seq, "size", size)
	return tlog.RecordProof(hashes), err
}

// ConsistencyProof proves that the log of size to begins with the log of size from (section 2.1.2).
func (c *Client) ConsistencyProof(ctx context.Context, from, to uint64) (tlog.TreeProof, error) {
	hashes, err := c.proof(ctx, "consistency", "from", from, "to", to)
	return tlog.TreeProof(hashes), err
}

// maxProofHashes: a tree of 2^53 leaves has proofs of at most 54 hashes.
const maxProofHashes = 64

func (c *Client) proof(ctx context.Context, kind, firstName string, first uint64, secondName string, second uint64) ([]tlog.Hash, error) {
	q := url.Values{firstName: {strconv.FormatUint(first, 10)}, secondName: {strconv.FormatUint(second, 10)}}
	p, err := get[api.Proof](ctx, c, "/v1/ledger/proof/"+kind, q)
	if err != nil {
		return nil, err
	}
	return decodeHashes(kind, p.Hashes)
}

func decodeHashes(kind string, all [][]byte) ([]tlog.Hash, error) {
	if len(all) > maxProofHashes {
		return nil, fmt.Errorf("%s proof: %d hashes, at most %d are possible", kind, len(all), maxProofHashes)
	}
	hashes := make([]tlog.Hash, len(all))
	for i, h := range all {
		if len(h) != tlog.HashSize {
			return nil, fmt.Errorf("%s proof: hash %d has %d bytes, want %d", kind, i, len(h), tlog.HashSize)
		}
		copy(hashes[i][:], h)
	}
	return hashes, nil
}

// progress returns the newest checkpoint, to be believed only after it was checked, and what proves that it continues the
// logs of the sizes: the proofs that came with it, and for any other the service asked.
func (c *Client) progress(ctx context.Context, sizes ...uint64) ([]byte, ledger.Prove, error) {
	from := make([]string, len(sizes))
	for i, n := range sizes {
		from[i] = strconv.FormatUint(n, 10)
	}
	p, err := get[api.Progress](ctx, c, "/v1/ledger/progress", url.Values{"from": {strings.Join(from, ",")}})
	if err != nil {
		return nil, nil, err
	}
	came := map[uint64]tlog.TreeProof{}
	for _, one := range p.Proofs {
		if came[one.From], err = decodeHashes("consistency", one.Hashes); err != nil {
			return nil, nil, err
		}
	}
	return []byte(p.Checkpoint), func(ctx context.Context, older, newer uint64) (tlog.TreeProof, error) {
		if proof, ok := came[older]; ok && newer == p.Size {
			return proof, nil
		}
		return c.ConsistencyProof(ctx, older, newer)
	}, nil
}

// ReportFormat of a report.
type ReportFormat string

const (
	ReportJSON   ReportFormat = "json"
	ReportHTML   ReportFormat = "html"
	ReportPDF    ReportFormat = "pdf"
	ReportXLSX   ReportFormat = "xlsx"
	ReportCSV    ReportFormat = "csv"    // zip of CSV files
	ReportBundle ReportFormat = "bundle" // zip, signed, for `conclave verify`
)

// maxReport bounds a report, in bytes.
const maxReport = 1 << 30

// Report writes a report for a period to w. What was written before an error is not a report.
func (c *Client) Report(ctx context.Context, framework string, from, to time.Time, format ReportFormat, w io.Writer) error {
	return c.Evidence(ctx, api.ReportRequest{Framework: framework, From: from, To: to}, format, w)
}

// Evidence writes a report or a register to w. What was written before an error is neither.
func (c *Client) Evidence(ctx context.Context, req api.ReportRequest, format ReportFormat, w io.Writer) error {
	accept := map[ReportFormat]string{
		ReportJSON: "application/json", ReportHTML: "text/html", ReportBundle: "application/zip", ReportCSV: "application/zip", ReportPDF: "application/pdf",
		ReportXLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	}[format]
	if accept == "" {
		return fmt.Errorf("report format: %q; allowed: %s, %s, %s, %s, %s, %s", format, ReportJSON, ReportHTML, ReportPDF, ReportXLSX, ReportCSV, ReportBundle)
	}
	r := call{method: http.MethodPost, path: "/v1/reports", query: url.Values{"format": {string(format)}}, accept: accept, body: req}
	return c.receive(ctx, r, w)
}

// receive writes an answer of any size up to maxReport.
func (c *Client) receive(ctx context.Context, r call, w io.Writer) error {
	return c.send(ctx, r, func(resp *http.Response) error {
		n, err := io.Copy(w, io.LimitReader(resp.Body, maxReport+1))
		if err != nil {
			return fmt.Errorf("receiving report: %w", err)
		}
		if n > maxReport {
			return fmt.Errorf("receiving report: %w: over %d bytes", errTooLarge, maxReport)
		}
		return nil
	})
}

// Audit asks the auditor's workspace for "populations", "members", a "sample" or a "dossier", or to "open" an evidence
// number, and writes the answer: JSON, or a page where format is [ReportHTML], which a dossier has.
func (c *Client) Audit(ctx context.Context, what string, in api.AuditRequest, format ReportFormat, w io.Writer) error {
	accept := map[ReportFormat]string{ReportJSON: "application/json", ReportHTML: "text/html"}[format]
	if accept == "" {
		return fmt.Errorf("format: %q; allowed: %s, %s", format, ReportJSON, ReportHTML)
	}
	return c.receive(ctx, call{method: http.MethodPost, path: "/v1/audit/" + url.PathEscape(what), query: url.Values{"format": {string(format)}}, accept: accept, body: in}, w)
}
