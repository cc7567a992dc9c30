package cli

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
)

func ledgerSegments() *cobra.Command {
	c := register("List the runs of entries that were moved out of the database, and where they are", (*client.Client).Segments,
		[]string{"SEGMENT", "ENTRIES", "FIRST", "LAST", "STATUS", "ARCHIVED", "BY", "FILE"}, func(g api.Segment) []string {
			file := filepath.Join(g.Directory, g.File)
			if g.Status == string(segment.Deleted) {
				file = "deleted by " + g.DeletedBy
			}
			return []string{g.ID, fmt.Sprintf("%d-%d", g.From, g.To-1), when(g.FirstAt), when(g.LastAt), g.Status, when(g.ArchivedAt), g.ArchivedBy, file}
		})
	c.Use = "segments"
	return c
}

func ledgerArchive() *cobra.Command {
	return proposal{
		use: "archive DIRECTORY", short: "Propose to move entries of past days out of the database into an archive", name: "ledger.archive", member: "directory", reasonMember: "reason",
		long: "DIRECTORY is an absolute path that every node reaches under this name, or s3://BUCKET/PREFIX. Entries are read from there as before,\n" +
			"and proofs stay what they were. What must stay at hand stays in the database: see `conclave retention list`.",
		flags: func(p *params) {
			p.text("until", "until", "", "the day (UTC) before which entries are archived, as 2026-03-01")
		},
		required: []string{"until"},
	}.command()
}

func ledgerDeleteArchived() *cobra.Command {
	c := &cobra.Command{
		Use: "delete-archived SEGMENT...", Short: "Propose to delete archived entries for ever, once retention has passed", Args: cobra.MinimumNArgs(1),
		Long: "What is deleted can not be read again. Hashes and the entries of the control plane stay, so that the ledger verifies as before\n" +
			"and says what was deleted, when, and by whom. Thirty days pass between the approvals and the deletion.",
	}
	gone := c.Flags().Bool("gone", false, "attest that the files were destroyed otherwise: nothing is looked for")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		return s.propose("ledger.delete-archived", map[string]any{"segments": args, "gone": *gone, "reason": *reason}, *reason)
	})
	return must(c, "reason")
}

// segmentReport is what verification of a segment's file established.
type segmentReport struct {
	Verdict string `json:"verdict"`
	segment.Manifest
	Checkpoint uint64 `json:"checkpoint"` // size of the ledger that it was proven to be of
}

func ledgerVerifySegment() *cobra.Command {
	return &cobra.Command{
		Use: "verify-segment FILE", Short: "Verify an archived segment offline, against the trust file", Args: exactly("FILE"),
		Long: "Shows that a segment holds the entries of the ledger that it says it does, all of them and in their places. It needs nothing\n" +
			"but the file and the trust file (--trust).",
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.loadTrust(); err != nil {
				return err
			}
			verifiers, err := s.trust.Verifiers()
			if err != nil {
				return err
			}
			out, err := verifySegment(s, args[0], verifiers)
			if err != nil {
				return err
			}
			return s.show(out, func(w io.Writer) {
				facts(w, "verdict", out.Verdict, "instance", out.Instance, "entries", fmt.Sprintf("%d to %d", out.From, out.To-1), "of", when(out.FirstAt)+" to "+when(out.LastAt),
					"control entries", number(out.Control), "proven against a ledger of", number(out.Checkpoint)+" entries")
			})
		}),
	}
}

func verifySegment(s *session, path string, verifiers []note.Verifier) (*segmentReport, error) {
	file, closer, err := segment.Archive{Directory: cmp.Or(filepath.Dir(path), ".")}.Open(s.ctx, filepath.Base(path))
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	if file.Manifest.Instance != s.trust.Instance {
		return nil, fmt.Errorf("%s %w: it is of instance %.12s, want %.12s", path, ledger.ErrForeign, file.Manifest.Instance, s.trust.Instance)
	}
	head, err := ledger.OpenHead(file.Checkpoint, s.trust.Origin, verifiers...)
	if err != nil {
		return nil, fmt.Errorf("%s: checkpoint of the segment: %w", path, err)
	}
	if err := file.Verify(s.ctx, head); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &segmentReport{Verdict: "verified against the trust file", Manifest: file.Manifest, Checkpoint: head.Size}, nil
}
