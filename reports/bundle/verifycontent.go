package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/ledger"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/render"
)

// proofs checks every entry in the bundle: its form, its place, and its inclusion in the checkpoint.
func (v *verifier) proofs(ctx context.Context) error {
	for _, f := range v.manifest.Files {
		if strings.HasPrefix(f.Path, "proofs/") {
			if _, have := v.archive.files[strings.Replace(strings.Replace(f.Path, "proofs/", "entries/", 1), ".tlog-proof", ".json", 1)]; !have {
				return faultf(f.Path, ErrExtra, "a proof without an entry")
			}
		}
		if !strings.HasPrefix(f.Path, "entries/") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		seq, ok := sequence(f.Path)
		if !ok {
			return faultf(f.Path, ErrExtra, "its name is no sequence number")
		}
		if err := v.proof(seq); err != nil {
			return err
		}
	}
	genesis := v.entries[0]
	switch {
	case genesis == nil:
		return fault(entryFile(0), ErrMissing)
	case genesis.Type != "genesis" || genesis.Target.ID != v.manifest.Instance:
		return faultf(entryFile(0), ErrForeignInstance, "the ledger's first entry is %s of %s", clip(genesis.Type), clip(genesis.Target.ID))
	}
	v.result.Entries = len(v.entries)
	v.say("All %d ledger entries in the bundle are proven to be in that checkpoint's log (RFC 6962), and entry 0 is this instance's genesis.", len(v.entries))
	return nil
}

func (v *verifier) proof(seq uint64) error {
	raw, err := v.archive.read(entryFile(seq))
	if err != nil {
		return err
	}
	data, err := v.archive.read(proofFile(seq))
	if err != nil {
		return err
	}
	index, hashes, checkpoint, err := parseProof(data)
	if err != nil {
		return fault(proofFile(seq), err)
	}
	if index != seq || !bytes.Equal(checkpoint, v.note) {
		return faultf(proofFile(seq), ErrProof, "it is of another entry or checkpoint")
	}
	proof := make(tlog.RecordProof, len(hashes))
	for i, h := range hashes {
		proof[i] = h
	}
	if err := ledger.CheckInclusion(proof, v.head, seq, raw); err != nil {
		return fault(entryFile(seq), fmt.Errorf("%w: %w", ErrProof, err))
	}
	e, err := ledger.Decode(raw)
	if err != nil {
		return fault(entryFile(seq), fmt.Errorf("%w: %w", ErrFormat, err))
	}
	if e.Seq != seq {
		return faultf(entryFile(seq), ErrProof, "it says of itself that it is entry %d", e.Seq)
	}
	v.entries[seq] = e
	v.noteArrival(e)
	return nil
}

// rows checks that every authority row is the one that a ledger entry wrote, and the newest where that is known.
func (v *verifier) rows(context.Context) error {
	data, err := v.archive.read(fileRows)
	if err != nil {
		return err
	}
	if err := decode(fileRows, data, &v.index); err != nil {
		return err
	}
	files, seen := map[string]bool{fileRows: true}, map[rowName]bool{}
	for _, r := range v.index.Rows {
		if err := v.row(r); err != nil {
			return err
		}
		if seen[rowName{r.Kind, r.ID}] || (r.File != "" && files[r.File]) {
			return faultf(fileRows, ErrRow, "%s %s or its file is there twice", clip(r.Kind), clip(r.ID))
		}
		seen[rowName{r.Kind, r.ID}] = true
		files[r.File] = true
		if r.File == "" {
			v.result.Withheld++
		}
	}
	for name := range v.archive.files {
		if strings.HasPrefix(name, "rows/") && !files[name] {
			return faultf(name, ErrExtra, "no row of the index has it")
		}
	}
	v.result.Rows = len(v.index.Rows)
	newest := "; no control-plane entry in the bundle changed one since"
	if v.result.Complete {
		newest = ", in its newest revision"
	}
	v.say("%s is bound by its hash to a ledger entry%s. The content of %d of them is withheld, as it holds wrapped keys or sealed shares: for those, the report's word is the node's.",
		amount.Each(len(v.index.Rows), "authority row"), newest, v.result.Withheld)
	if v.result.Complete {
		v.unread()
	}
	return nil
}

// unread says which keys, key versions, keystores and share sets the ledger knows and the report does not read:
// a report could look good by passing over what is not. Some are passed over rightly, such as what was made after
// the period.
func (v *verifier) unread() {
	read := map[rowName]bool{}
	for _, r := range v.index.Rows {
		read[rowName{r.Kind, r.ID}] = true
	}
	var passed, unsigned []string
	for name, c := range v.newest {
		if deleted := c.Hash == [32]byte{}; deleted || read[name] {
			continue
		}
		switch name.kind {
		case "key", "key_version", "keystore", "share_set":
			passed = append(passed, clip(name.kind)+" "+clip(name.id))
		case kindCeremony, kindScript, string(custodian.KindCustody), string(custodian.KindPerson):
			if c.seq >= v.span.First && c.seq < v.span.End {
				unsigned = append(unsigned, clip(name.kind)+" "+clip(name.id))
			}
		}
	}
	if len(passed) == 0 {
		v.say("Every key, key version, keystore and share set that the ledger knows is among the rows.")
	} else {
		v.say("The ledger knows %d keys, key versions, keystores or share sets that the report does not read: %s.", len(passed), few(passed))
	}
	if len(unsigned) == 0 {
		v.say("Every ceremony, record of one, line of the custody log and person that an entry of the period wrote last is among the rows.")
	} else {
		v.say("Entries of the period wrote %d ceremonies, records, lines of the custody log or people that are NOT in the bundle: %s. Who signed them is not shown.", len(unsigned), few(unsigned))
	}
}

// few lists the first of many names.
func few(names []string) string {
	slices.Sort(names)
	const named = 10
	more := ""
	if n := len(names) - named; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names[:min(named, len(names))], ", ") + more
}

func (v *verifier) row(r RowFile) error {
	where := r.File
	if where == "" {
		where = fileRows
		if r.Withheld == "" || withheld(r.Kind) == "" {
			return faultf(where, ErrMissing, "%s %s has neither a file nor a reason", clip(r.Kind), clip(r.ID))
		}
	} else {
		body, err := v.archive.read(r.File)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != r.Hash {
			return faultf(where, ErrRow, "its SHA-256 is not the row's")
		}
	}
	e := v.entries[r.Seq]
	if e == nil {
		return faultf(entryFile(r.Seq), ErrMissing, "it wrote %s %s", clip(r.Kind), clip(r.ID))
	}
	bound := slices.ContainsFunc(e.Rows, func(c ledger.RowChange) bool { return matches(c, r) })
	if !bound {
		return faultf(where, ErrRow, "entry %d does not bind %s %s with this hash", r.Seq, clip(r.Kind), clip(r.ID))
	}
	// Where the chain begins before the period only, a row that no entry in it wrote is older than all of them.
	newest, known := v.newest[rowName{r.Kind, r.ID}]
	if (known || v.result.Complete) && !matches(newest.RowChange, r) {
		return faultf(where, ErrRow, "a later entry changed %s %s", clip(r.Kind), clip(r.ID))
	}
	return nil
}

func matches(c ledger.RowChange, r RowFile) bool {
	return c.Kind == r.Kind && c.ID == r.ID && c.Revision == r.Revision && hex.EncodeToString(c.Hash[:]) == r.Hash
}

// report checks that the report is about this bundle and cites nothing that the bundle does not hold.
func (v *verifier) report(context.Context) error {
	data, err := v.archive.read(fileReport)
	if err != nil {
		return err
	}
	page, err := v.archive.read(filePage)
	if err != nil {
		return err
	}
	r, err := reports.Parse(data)
	if err != nil {
		return fault(fileReport, fmt.Errorf("%w: %w", ErrFormat, err))
	}
	m := v.manifest
	if r.Instance.ID != m.Instance || r.Instance.Mode != m.Mode || r.Framework != m.Framework || !r.From.Equal(m.From) || !r.To.Equal(m.To) ||
		r.Checkpoint.Size != m.Size || r.Checkpoint.Root != m.Root || r.Checkpoint.Note != string(v.note) {
		return faultf(fileReport, ErrCitation, "it is about another instance, period or checkpoint than the manifest")
	}
	if err := v.catalogue(r); err != nil {
		return err
	}
	for _, seq := range r.Cited() {
		if v.entries[seq] == nil {
			return faultf(fileReport, ErrCitation, "entry %d", seq)
		}
	}
	have := map[control.Ref]bool{}
	for _, row := range v.index.Rows {
		have[control.Ref{Kind: row.Kind, ID: row.ID, Revision: row.Revision, Hash: row.Hash, Seq: row.Seq}] = true
	}
	for _, ref := range r.Rows() {
		if !have[ref] {
			return faultf(fileReport, ErrCitation, "%s %s, revision %d", clip(ref.Kind), clip(ref.ID), ref.Revision)
		}
	}
	counts := map[string]int{}
	for _, c := range r.Controls {
		counts[string(c.Result.Verdict)]++
		if why := contradiction(c.Result); why != "" {
			return faultf(fileReport, ErrCitation, "control %s is %s and %s", clip(c.ID), clip(string(c.Result.Verdict)), why)
		}
	}
	if err := v.counted(r.Entries); err != nil {
		return err
	}
	for _, of := range []map[string]int{r.Counts, counts} { // none too many, and none passed over
		for verdict := range of {
			if counts[verdict] != r.Counts[verdict] {
				return faultf(fileReport, ErrCitation, "its cover counts %d controls as %s, it has %d", r.Counts[verdict], clip(verdict), counts[verdict])
			}
		}
	}
	v.result.Counts, v.result.Report = r.Counts, r
	v.say("The report judges %d controls of %s, no verdict contradicts its rows, and it cites nothing that the bundle does not hold. How it judges them is the word of node %s.", len(r.Controls), r.Framework, v.result.Node)
	var own bytes.Buffer
	if err := render.HTML(&own, r); err != nil {
		return fault(fileReport, fmt.Errorf("%w: %w", ErrFormat, err))
	}
	if bytes.Equal(own.Bytes(), page) {
		v.say("The page report.html says what report.json says.")
	} else {
		v.say("The page report.html is NOT what this version of the program makes of report.json: go by report.json.")
	}
	return nil
}

// contradiction says how a verdict goes against its own rows; "" where it does not.
func contradiction(r control.Result) string {
	for _, t := range r.Tables {
		violating, attention := t.Violating, t.Attention
		if violating < 0 || attention < 0 {
			return "counts fewer rows than none"
		}
		for _, row := range t.Rows {
			switch row.State {
			case control.Violating:
				violating++
			case control.Attention:
				attention++
			}
		}
		switch {
		case violating > 0 && r.Verdict != control.Violated:
			return "has a violating row"
		case attention > 0 && r.Verdict == control.Satisfied:
			return "has a row that needs attention"
		}
	}
	if r.Verdict == control.Satisfied && r.Question != "" {
		return "asks a question"
	}
	return ""
}

// catalogue checks that the report judges the catalogue that is in the bundle.
func (v *verifier) catalogue(r *reports.Report) error {
	data, err := v.archive.read(fileCatalogue)
	if err != nil {
		return err
	}
	var c control.Catalogue
	if err := decode(fileCatalogue, data, &c); err != nil {
		return err
	}
	same := c.Framework == r.Framework && c.Version == r.CatalogueVersion && len(c.Controls) == len(r.Controls)
	for i := 0; same && i < len(c.Controls); i++ {
		same = c.Controls[i].ID == r.Controls[i].ID
	}
	if !same {
		return faultf(fileCatalogue, ErrCitation, "the report judges another catalogue")
	}
	return nil
}
