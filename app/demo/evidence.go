package demo

import (
	"archive/zip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"conclave/app/client"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/control"
)

// Files that the audit leaves behind.
const (
	reportPage = "report.html"
	bundleFile = "evidence.zip"
	exportDir  = "ledger-copy"
)

const framework = "pci-dss-4.0.1"

func (d *demo) tellReport(ctx context.Context) error {
	d.tell("The auditor pulls the evidence for PCI DSS 4.0.1, and checks it without us.")
	auditor, err := d.Bearer(d.state.AuditorToken)
	if err != nil {
		return err
	}
	status, err := auditor.Status(ctx)
	if err != nil {
		return err
	}
	from, to := d.state.MadeAt.Add(-time.Minute), status.Time
	if err := fetch(filepath.Join(d.dir, reportPage), func(w io.Writer) error {
		return auditor.Report(ctx, framework, from, to, client.ReportHTML, w)
	}); err != nil {
		return err
	}
	path := filepath.Join(d.dir, bundleFile)
	if err := fetch(path, func(w io.Writer) error {
		return auditor.Report(ctx, framework, from, to, client.ReportBundle, w)
	}); err != nil {
		return err
	}
	if err := d.showVerdicts(path); err != nil {
		return err
	}
	found, err := bundle.Verify(ctx, path, d.Trust)
	if err != nil {
		return fmt.Errorf("verifying the bundle offline: %w", err)
	}
	d.say("The page is %s; the bundle %s", filepath.Join(d.dir, reportPage), path)
	d.say("verified offline against the pinned trust file: %d entries of the period, none left out; %d signatures under %d", found.PeriodEntries, found.Signatures, found.Ceremonies)
	d.say("ceremonies; every proof, every row.")
	return d.tellForgeries(ctx, path)
}

// fetch writes what get delivers to a file.
func fetch(path string, get func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return get(f)
}

// showVerdicts counts the report's verdicts and names the violated controls.
func (d *demo) showVerdicts(path string) error {
	raw, err := readZipped(path, "report.json")
	if err != nil {
		return err
	}
	var report reports.Report
	if err := json.Unmarshal(raw, &report); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	for _, v := range control.Verdicts() {
		if n := report.Counts[string(v)]; n > 0 {
			d.say("%2d %s", n, v)
		}
	}
	violated := 0
	for _, c := range report.Controls {
		if c.Result.Verdict == control.Violated {
			violated++
			d.say("violated: %s %s. %s", c.ID, c.Title, c.Result.Summary)
		}
	}
	if violated == 0 {
		return errors.New("the report names no violated control, although one custodian opened her share before she accepted the duty")
	}
	return nil
}

func readZipped(path, name string) ([]byte, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (d *demo) tellTampering(ctx context.Context) error {
	d.tell("Whoever edits what happened is caught: in a copy of the ledger, and in the database.")
	if err := d.editLedgerCopy(ctx); err != nil {
		return err
	}
	return d.editDatabaseCopy(ctx)
}

// editLedgerCopy exports the ledger, verifies the copy, changes one byte of it and verifies again.
func (d *demo) editLedgerCopy(ctx context.Context) error {
	auditor, err := d.Bearer(d.state.AuditorToken)
	if err != nil {
		return err
	}
	head, note, err := auditor.CheckLedger(ctx, d.Trust, filepath.Join(d.dir, "seen"))
	if err != nil {
		return fmt.Errorf("checking the ledger online: %w", err)
	}
	dir := filepath.Join(d.dir, exportDir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	trust, err := client.Followed(d.Trust, filepath.Join(d.dir, "seen"))
	if err != nil {
		return err
	}
	keys, err := trust.Chain()
	if err != nil {
		return err
	}
	if err := ledger.ExportDir(ctx, dir, ledger.Export{Checkpoint: note, Keys: keys, Entries: auditor.EntrySource(head.Size)}); err != nil {
		return fmt.Errorf("exporting the ledger: %w", err)
	}
	found, err := ledger.VerifyDir(ctx, dir, ledger.VerifyInput{Trust: d.Trust})
	if err != nil {
		return fmt.Errorf("verifying the exported ledger: %w", err)
	}
	d.say("Exported %d entries; %s.", found.Size, found.Verdict())
	path := filepath.Join(dir, ledger.EntriesPath(0, int(min(found.Size, 256))))
	bundle, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	bundle[len(bundle)/2] ^= 1
	if err := os.WriteFile(path, bundle, 0o600); err != nil {
		return err
	}
	_, err = ledger.VerifyDir(ctx, dir, ledger.VerifyInput{Trust: d.Trust})
	if err == nil {
		return errors.New("an edited ledger copy was accepted")
	}
	d.say("One bit of the copy edited: %v.", err)
	bundle[len(bundle)/2] ^= 1
	return os.WriteFile(path, bundle, 0o600)
}

// editDatabaseCopy makes a person's suspension undone by SQL, in a copy, as somebody with access to the
// database might, and opens the copy.
func (d *demo) editDatabaseCopy(ctx context.Context) error {
	dir := filepath.Join(d.dir, "edited")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	copied := filepath.Join(dir, "conclave.db")
	if err := copyDatabase(ctx, filepath.Join(d.data, "conclave.db"), copied); err != nil {
		return err
	}
	if err := promote(ctx, copied); err != nil {
		return err
	}
	broken, err := d.openCopy(ctx, copied)
	if err != nil {
		return err
	}
	defer broken.Close()
	_, _, err = store.Get[people.Person](broken.View(), custodian.KindPerson, "demo-eve")
	var tampered *store.TamperedError
	if !errors.As(err, &tampered) {
		return fmt.Errorf("an edited row was not found, got %v", err)
	}
	d.say("Eve made a security officer by SQL, in a copy of the database: %v.", err)
	return os.RemoveAll(dir)
}

func copyDatabase(ctx context.Context, from, to string) error {
	db, err := sql.Open("sqlite3", "file:"+from+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("copying the database: %w", err)
	}
	return nil
}

func promote(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		return err
	}
	defer db.Close()
	result, err := db.ExecContext(ctx, `UPDATE authority_rows SET body = replace(CAST(body AS TEXT), '"roles":["custodian"]', '"roles":["custodian","security-officer"]')
		WHERE kind = 'person' AND id = 'demo-eve'`)
	if err != nil {
		return fmt.Errorf("editing the copy: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("editing the copy changed %d rows: %w", n, err)
	}
	return nil
}
