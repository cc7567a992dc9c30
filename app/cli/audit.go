package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/ledger"
)

func whyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "why DECISION", Short: "Open a recorded decision: who, what, why, and what would make it pass", Args: exactly("DECISION"),
		Long: "Opens a recorded decision. With a trust file its ledger entry is proven to be in the ledger.",
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			d, err := s.client.Decision(s.ctx, args[0])
			if err != nil {
				return err
			}
			proven := "not checked: no trust file, or no entry shown"
			if s.settings[setTrust] != "" && len(d.Entry) > 0 && d.Checkpoint != "" {
				if err := s.proveEntry(d.Seq, d.Entry, d.Inclusion, d.Checkpoint); err != nil {
					return err
				}
				proven = "entry proven to be in the ledger of the trust file"
			}
			return s.show(d, func(w io.Writer) {
				facts(w, "decision", d.ID, "ledger entry", fmt.Sprintf("#%d", d.Seq), "at", when(d.At), "type", d.Type, "by", d.Actor, "from", d.Origin,
					"on", d.Target, "outcome", d.Outcome, "code", d.Code, "reason code", d.ReasonCode, "emergency access", d.Breakglass, "policy", d.Policy, "proof", proven)
				for _, r := range d.Reasons {
					writeReason(w, r)
				}
			})
		}),
	}
}

// proveEntry checks an entry's inclusion proof against a checkpoint signed by a pinned log key.
func (s *session) proveEntry(seq uint64, entry []byte, inclusion []string, checkpoint string) error {
	if err := s.loadTrust(); err != nil {
		return err
	}
	verifiers, err := s.trust.Verifiers()
	if err != nil {
		return err
	}
	head, err := ledger.OpenHead([]byte(checkpoint), s.trust.Origin, verifiers...)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, text := range inclusion {
		h, err := tlog.ParseHash(text)
		if err != nil {
			return fmt.Errorf("inclusion proof: %w", err)
		}
		proof = append(proof, h)
	}
	return ledger.CheckInclusion(proof, head, seq, entry)
}

func reportCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "report", Short: "Make an evidence report for a period", Args: exactly(),
		Long: "Makes a report of a framework, or a register, which lists and judges nothing. Format bundle is a signed zip that\n" +
			"`conclave verify` checks without the service; csv is a zip of CSV files.",
	}
	f := c.Flags()
	framework := f.String("framework", "", "framework: pci-dss-4.0.1, hipaa-security-rule, nist-800-53r5 or nist-800-57")
	register := f.String("register", "", "instead: access, architecture, ceremonies, cryptography, custodians or declared")
	from := f.String("from", "", "beginning: a day or instant")
	to := f.String("to", "", "end, exclusive: a day or instant that is not in the future; default: now")
	format := f.String("format", "json", "json, html, pdf, xlsx, csv or bundle")
	job := f.String("job", "", "instead of all that: go on with a report that was asked for within the hour")
	out := f.StringP("out", "o", "", "file to write; must not exist")
	c.RunE = action(func(s *session, cmd *cobra.Command, _ []string) error {
		if *job != "" {
			for _, other := range []string{"framework", "register", "from", "to", "format"} {
				if cmd.Flags().Changed(other) {
					return usagef("--%s is settled for the report of --job", other)
				}
			}
			return s.fetchReport(*job, *out)
		}
		if *from == "" {
			return usagef("give --from")
		}
		if (*framework == "") == (*register == "") {
			return usagef("give one of --framework and --register")
		}
		begin, err := parseTime("from", *from)
		if err != nil {
			return err
		}
		var end time.Time // zero: the service takes its own now
		until := "now"
		if *to != "" {
			if end, err = parseTime("to", *to); err != nil {
				return err
			}
			until = when(end)
		}
		if err := s.connectAny(); err != nil {
			return err
		}
		s.say("Asking for %s as %s for %s to %s.", cmp.Or(*framework, *register), *format, when(begin), until)
		req := api.ReportRequest{Framework: *framework, Register: *register, From: begin, To: end}
		return s.writeReport(*out, func() (*api.ReportJob, error) {
			j, err := s.client.StartReport(s.ctx, req, client.ReportFormat(*format))
			if err == nil {
				s.say("It is report %s: should this command be cut off, go on with --job %s.", j.ID, j.ID)
			}
			return j, err
		})
	})
	return must(c, "out")
}

// fetchReport goes on with a report that was asked for before.
func (s *session) fetchReport(id, out string) error {
	if err := s.connectAny(); err != nil {
		return err
	}
	return s.writeReport(out, func() (*api.ReportJob, error) { return s.client.ReportJob(s.ctx, id) })
}

// writeReport waits for a report and writes it to a new file.
func (s *session) writeReport(out string, begin func() (*api.ReportJob, error)) error {
	err := newFile(out, func(w *os.File) error {
		job, err := begin()
		if err != nil {
			return err
		}
		return s.client.AwaitReport(s.ctx, job, w, s.reportProgress())
	})
	if err != nil {
		return err
	}
	s.say("Written to %s.", out)
	return nil
}

// reportProgress tells how far a report is, each time that there is something new to say.
func (s *session) reportProgress() func(api.ReportJob) {
	last := ""
	return func(j api.ReportJob) {
		text := j.Stage
		if j.Of > 0 {
			text = fmt.Sprintf("%s: %d %%", j.Stage, 100*j.Read/j.Of)
		}
		if text != last {
			s.say("The report %s.", text)
		}
		last = text
	}
}

// newFile streams into a file that appears only when it is whole and whose name was free.
func newFile(path string, fill func(*os.File) error) error {
	if _, err := os.Lstat(path); err == nil {
		return usagef("%s exists and is left alone; give another name", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // gone already when all went well
	defer f.Close()           // closed already when all went well
	if err := fill(f); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func ledgerCommand() *cobra.Command {
	return parent("ledger", "Read, export and verify the ledger", ledgerVerify(), ledgerExport(), ledgerCheckpoint(), ledgerEntries(), ledgerSearch(), ledgerRebuildIndex(), ledgerAcceptRecovery(),
		ledgerSegments(), ledgerArchive(), ledgerDeleteArchived(), ledgerVerifySegment())
}

func ledgerVerify() *cobra.Command {
	c := &cobra.Command{
		Use: "verify", Short: "Verify the ledger, online or an exported copy, against the trust file", Args: exactly(),
		Long: "Verifies every entry, the hash tree, the signature, and that the ledger contains every checkpoint known\n" +
			"before. With --dir the service is not asked. Without --trust a copy is only compared with itself.",
	}
	older := c.Flags().Bool("older", false, "accept that the copy was made before the newest ledger seen here")
	dir := c.Flags().String("dir", "", "exported copy to verify; default: the service's ledger, with credentials of an auditor")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		in, err := s.verifyInput()
		if err != nil {
			return err
		}
		var report *ledger.VerifyReport
		if *dir != "" {
			report, err = s.verifyCopy(*dir, in, *older)
		} else {
			if err := s.connectAny(); err != nil {
				return err
			}
			in.Source = s.client.LogSource()
			report, err = ledger.Verify(s.ctx, in)
		}
		if err != nil {
			return err
		}
		return s.show(report, func(w io.Writer) {
			all := []string{"verdict", report.Verdict(), "instance", report.Instance, "origin", report.Origin, "entries", number(report.Size),
				"control entries", number(report.ControlCount), "authority epoch", number(report.Epoch), "root", report.Root,
				"first entry", when(report.First), "last entry", when(report.Last), "contains checkpoints", fmt.Sprint(report.Contains)}
			for _, d := range report.Deleted {
				all = append(all, "deleted", fmt.Sprintf("entries %d to %d, by ceremony %s (entry %d)", d.From, d.To-1, d.Ceremony, d.Seq))
			}
			facts(w, all...)
		})
	})
	return c
}

// verifyCopy verifies an exported copy. One that was made earlier is honestly older than what this client has
// seen since: only where the caller says so is it held against the trust file alone.
func (s *session) verifyCopy(dir string, in ledger.VerifyInput, older bool) (*ledger.VerifyReport, error) {
	report, err := ledger.VerifyDir(s.ctx, dir, in)
	if !errors.Is(err, ledger.ErrRollback) || len(in.Known) == 0 {
		return report, err
	}
	if !older {
		return report, fmt.Errorf("%w\nA copy made before that is older without harm: --older then holds it against the trust file alone", err)
	}
	s.say("Older than the ledger of %d entries seen here: that the newer one continues this copy was not checked.", in.Known[0].Size)
	in.Known = nil
	return ledger.VerifyDir(s.ctx, dir, in)
}

// verifyInput is what a ledger is held against: the trust file, where there is one, and with it the highest
// checkpoint that this client has seen.
func (s *session) verifyInput() (ledger.VerifyInput, error) {
	in := ledger.VerifyInput{}
	if s.settings[setTrust] == "" {
		s.say("No trust file: the ledger can only be compared with itself. Give --%s FILE.", setTrust)
		return in, nil
	}
	if err := s.loadTrust(); err != nil {
		return in, err
	}
	in.Trust = s.trust
	seen, any, err := client.HighestSeen(s.trust, s.settings[setStateDir])
	if err != nil {
		return in, err
	}
	if any {
		in.Known = append(in.Known, seen)
	}
	in.Accepted, err = client.AcceptedRecoveries(s.trust, s.settings[setStateDir])
	return in, err
}

func ledgerExport() *cobra.Command {
	return &cobra.Command{
		Use: "export DIR", Short: "Export the ledger as a C2SP tlog-tiles directory", Args: exactly("DIR"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			if err := s.loadTrust(); err != nil {
				return err
			}
			head, note, err := s.seeLedger()
			if err != nil {
				return err
			}
			keys, err := s.trust.Chain()
			if err != nil {
				return err
			}
			s.say("Exporting %d entries to %s.", head.Size, args[0])
			return ledger.ExportDir(s.ctx, args[0], ledger.Export{
				Checkpoint: note, Keys: keys, Entries: s.client.EntrySource(head.Size), Remains: s.client.LogSource(),
			})
		}),
	}
}

func ledgerCheckpoint() *cobra.Command {
	return &cobra.Command{
		Use: "checkpoint", Short: "Show the newest checkpoint, held against everything seen before", Args: exactly(),
		Long: "Shows the newest checkpoint, once it is proven to continue every one seen before. Takes no credentials.",
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectOptional(); err != nil {
				return err
			}
			if err := s.loadTrust(); err != nil {
				return err
			}
			head, note, err := s.seeLedger()
			if err != nil {
				return err
			}
			out := struct {
				Size       uint64 `json:"size"`
				Root       string `json:"root"`
				Epoch      uint64 `json:"epoch"`
				Checkpoint string `json:"checkpoint"`
			}{head.Size, head.Root.String(), head.Epoch, string(note)}
			return s.show(out, func(w io.Writer) { fmt.Fprint(w, clean(out.Checkpoint)) })
		}),
	}
}

func ledgerEntries() *cobra.Command {
	c := &cobra.Command{Use: "entries", Short: "List ledger entries", Args: exactly()}
	var filter client.EntryFilter
	f := c.Flags()
	f.Uint64Var(&filter.From, "from", 0, "first sequence number")
	f.Uint64Var(&filter.To, "to", 0, "sequence number after the last; 0 for the end")
	f.StringVar(&filter.Type, "type", "", "type, as key.create")
	f.StringVar(&filter.Actor, "actor", "", "who")
	f.StringVar(&filter.Target, "target", "", "on what")
	limit := f.Int("limit", 100, "most entries to list")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		list, more, err := s.entries(filter, *limit)
		if err != nil {
			return err
		}
		if more {
			s.say("There are more: go on with --from, or raise --limit.")
		}
		return s.show(list, func(w io.Writer) { writeEntries(w, list) })
	})
	return c
}

// entries collects at most limit entries, and says which runs on the way were deleted.
func (s *session) entries(filter client.EntryFilter, limit int) (list []json.RawMessage, more bool, err error) {
	list = []json.RawMessage{}
	var said deletions
	for page, err := range s.client.Entries(s.ctx, filter) {
		if err != nil {
			return nil, false, err
		}
		s.sayDeleted(&said, page.Deleted)
		if room := limit - len(list); len(page.Items) > room {
			return append(list, page.Items[:room]...), true, nil
		}
		list = append(list, page.Items...)
	}
	return list, false, nil
}

// deletions are runs of deleted entries that were told already.
type deletions map[api.DeletedEntries]bool

// sayDeleted tells of runs that what is listed passes over, each once.
func (s *session) sayDeleted(said *deletions, runs []api.DeletedEntries) {
	if *said == nil {
		*said = deletions{}
	}
	for _, run := range runs {
		if !(*said)[run] {
			(*said)[run] = true
			s.say("Entries %d to %d were deleted under retention by ceremony %s: of them those of the control plane are left.", run.From, run.To-1, run.Ceremony)
		}
	}
}

func writeEntries(w io.Writer, list []json.RawMessage) {
	var rows [][]string
	for _, raw := range list {
		e, err := ledger.Decode(raw)
		if err != nil {
			rows = append(rows, []string{"?", "", "not canonical: " + err.Error()})
			continue
		}
		rows = append(rows, []string{number(e.Seq), when(e.At), e.Type, e.Actor.String(), e.Target.Type + " " + e.Target.ID, string(e.Outcome), e.Reason, e.Ceremony})
	}
	table(w, []string{"SEQ", "AT", "TYPE", "BY", "ON", "OUTCOME", "REASON", "CEREMONY"}, rows)
}
