package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"conclave/app/witness"
	"conclave/custodian/ledger"
)

// WitnessCommand is `conclave witness`.
func WitnessCommand() *cobra.Command {
	c := witness.Command()
	c.AddCommand(witnessAcceptRecovery())
	return c
}

func witnessAcceptRecovery() *cobra.Command {
	c := &cobra.Command{
		Use: "accept-recovery", Short: "Judge a recovery, and have the witness go on with the recovered ledger", Args: exactly(),
		Long: "After a restore the ledger does not continue what the witness had seen, and is refused until its operator has judged\n" +
			"that. This command reads an exported copy of the recovered ledger and recovery.json as the restore wrote it. It verifies\n" +
			"the whole ledger against the trust file, and the recovery's approvals against the people whom the ledger knew before it;\n" +
			"that the recovery names what the witness had seen; and shows who restored what and what was lost. Once you say yes, the\n" +
			"witness goes on with the recovered ledger under the same key, whether it runs or not, and refuses the one that was left\n" +
			"behind. Both heads stay in the file recoveries of its directory, which the witness shows under /recoveries.",
	}
	f := c.Flags()
	seen := f.String("state-dir", "witness", "directory that keeps what the witness saw")
	dir := f.String("dir", "", "exported copy of the recovered ledger")
	file := f.String("recovery", "", "recovery.json, as the restore wrote it")
	yes := f.Bool("yes", false, "accept without asking, once what is shown has been read")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.loadTrust(); err != nil {
			return err
		}
		document, err := readSmall(*file, maxDocument)
		if err != nil {
			return fmt.Errorf("reading recovery: %w", err)
		}
		return s.witnessAccepts(*seen, *dir, document, *yes)
	})
	return must(c, "dir", "recovery")
}

func (s *session) witnessAccepts(seen, dir string, document []byte, yes bool) error {
	state, err := witness.OpenState(s.trust, seen)
	if err != nil {
		return err
	}
	before, any, err := state.Highest()
	if err != nil {
		return err
	}
	if !any {
		return fmt.Errorf("%s keeps no checkpoint of this log: it is not the directory of a witness of it, or the witness has seen nothing yet and has nothing to accept", seen)
	}
	in := ledger.VerifyInput{Trust: s.trust, Known: []ledger.Head{before}}
	accepted, err := state.Accepted()
	if err != nil {
		return err
	}
	for _, a := range accepted {
		in.Accepted = append(in.Accepted, a.Recovery)
	}
	source, closeSource, err := s.source(dir)
	if err != nil {
		return err
	}
	defer closeSource()
	doc, judged, checkpoint, err := s.judgeRecovery(in, source, document)
	if err != nil {
		return err
	}
	if !slices.Contains(judged.Report.Lost, before.Size) {
		return witness.ErrNothingLost
	}
	if err := s.showRecovery(doc, judged); err != nil {
		return err
	}
	s.say("The witness saw %d entries of the ledger that was left behind, root %s.", before.Size, before.Root)
	if err := s.confirm(yes, "Have the witness go on with this recovered ledger, and refuse the one that was left behind?"); err != nil {
		return err
	}
	if err := state.Accept(*judged.Recovery, before, checkpoint, s.clock.Now()); err != nil {
		return err
	}
	s.say("Accepted. The witness goes on at %d entries; both heads are on record in %s.", judged.Report.Size, seen)
	return nil
}
