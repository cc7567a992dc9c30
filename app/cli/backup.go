package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/recovery"
	"conclave/custodian/backup"
)

func backupCommand() *cobra.Command {
	list := register("List copies and where they are", (*client.Client).Backups,
		[]string{"BACKUP", "SCHEDULE", "MADE", "ENTRIES", "BYTES", "OPENS WITH", "STATUS", "GONE", "DRILL", "FILE"},
		func(b api.Backup) []string {
			return []string{b.ID, b.Schedule, when(b.At), number(b.Size), number(b.Bytes), fmt.Sprintf("%s, epoch %d", b.ShareSet, b.Epoch), b.Status, maybe(b.GoneAt), maybe(b.DrillAt), b.File}
		})
	schedules := register("List schedules: where copies go, how often, who opens them", (*client.Client).BackupSchedules,
		[]string{"SCHEDULE", "DIRECTORY", "EVERY", "KEEP", "SHARE SET", "EPOCH", "STATUS", "DECIDED BY"},
		func(b api.BackupSchedule) []string {
			return []string{b.ID, b.Directory, number(b.EveryMinutes) + " min", number(b.Keep), b.ShareSet, number(b.Epoch), b.Status, b.DecidedBy}
		})
	schedules.Use = "schedules"
	run := &cobra.Command{Use: "run SCHEDULE", Short: "Make a copy now, under the decision that scheduled it", Args: exactly("SCHEDULE")}
	reason := run.Flags().String("reason", "", "why, for the record")
	run.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		return s.propose("backup.run", map[string]any{"schedule": args[0]}, *reason)
	})
	must(run, "reason")
	return parent("backup", "Backups: schedule, run, list, verify, drill, delete", list, schedules, backupSchedule(), run, backupVerify(), backupDrill(),
		proposal{use: "delete BACKUP", short: "Propose to delete a copy; approvers attest that no other of it is left", name: "backup.delete", member: "backup", reasonMember: "reason",
			long: "Proposes to delete a copy's file. The node that wrote it deletes it; one that it does not find where it writes backups now\n" +
				"is not taken for deleted. With --gone nothing is looked for: whoever approves attests that the file was destroyed otherwise.",
			flags: func(p *params) {
				p.bool("gone", "gone", "the file was destroyed otherwise, or with the disk that it lay on")
			}}.command())
}

func backupSchedule() *cobra.Command {
	c := &cobra.Command{
		Use: "schedule SCHEDULE", Short: "Propose where copies go, how often, how many stay, and who can open them", Args: exactly("SCHEDULE"),
		Long: "Proposes a schedule, or a change of one. A new schedule, or one that is given a share set, gets a backup key of its own:\n" +
			"its private half is split among the holders, who confirm their shares (share confirm) before the first copy is made.\n" +
			"What is left out of a change stays as it is.",
	}
	p := newParams(c)
	p.text("directory", "directory", "", "absolute path of an existing directory on the node, or s3://BUCKET/PREFIX")
	p.number("every-minutes", "every_minutes", "minutes between copies")
	p.number("keep", "keep", "copies that stay")
	set := c.Flags().String("share-set", "", "id of the share set that opens the copies: makes a new backup key")
	threshold := c.Flags().Int("threshold", 0, "shares that open them (m)")
	holders := c.Flags().StringSlice("holder", nil, "person who holds a share; repeat for each")
	stop := c.Flags().Bool("stop", false, "make no more copies")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params["id"] = args[0]
		if *set != "" {
			params["share_set"] = map[string]any{"id": *set, "threshold": *threshold, "holders": *holders}
		}
		if *stop {
			params["stop"] = true
		}
		return s.propose("backup.schedule", params, *reason)
	})
	return must(c, "reason")
}

func backupVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Verify a backup file offline: signatures, completeness, every byte; its content stays closed", Args: exactly("FILE"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.loadTrust(); err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("opening backup: %w", err)
			}
			defer f.Close()
			file, err := backup.Open(f, s.trust)
			if err != nil {
				return err
			}
			sum, err := file.Verify()
			if err != nil {
				return err
			}
			m := file.Manifest
			out := struct {
				Backup  string `json:"backup"`
				Bytes   int64  `json:"bytes"`
				SHA256  string `json:"sha256"`
				Entries uint64 `json:"entries"`
				Rows    uint64 `json:"rows"`
				Opens   string `json:"opens_with"`
			}{m.ID, sum.Bytes, sum.SHA256, sum.Entries, sum.Rows, fmt.Sprintf("%d of %d shares of set %s, epoch %d", m.Threshold, len(m.Shares), m.ShareSet, m.Epoch)}
			return s.show(out, func(w io.Writer) {
				facts(w, "verdict", "complete and as the node signed it; whether it restores, a drill shows", "backup", out.Backup, "instance", m.Instance, "made", when(m.CreatedAt),
					"by node", m.Node, "bytes", number(out.Bytes), "SHA-256", out.SHA256, "ledger", number(out.Entries)+" entries", "rows", number(out.Rows), "opens with", out.Opens)
			})
		}),
	}
}

func backupDrill() *cobra.Command {
	return &cobra.Command{
		Use: "drill RECORD", Short: "Record a restore test, by the record that restore finish wrote", Args: exactly("RECORD"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			raw, err := readSmall(args[0], maxSignatureBytes)
			if err != nil {
				return fmt.Errorf("reading the drill's record: %w", err)
			}
			var d recovery.Drill
			if err := json.Unmarshal(raw, &d, json.RejectUnknownMembers(true)); err != nil {
				return fmt.Errorf("reading the drill's record: %w", err)
			}
			return s.propose("backup.drill", map[string]any{"record": d}, "restore test")
		}),
	}
}
