package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
)

func sharesetCommand() *cobra.Command {
	quorum := func(p *params) {
		p.number("threshold", "threshold", "shares that open it (m)")
		p.list("holder", "holders", "person who is to hold a share, in the order of the shares; repeat for each")
	}
	return parent("shareset", "Share sets: see, change the quorum, make another", sharesetList(),
		proposal{use: "change SET", name: "quorum.change", member: "set", short: "Issue new shares of another quorum, to the holders given",
			flags: quorum, required: []string{"threshold", "holder"}}.command(),
		proposal{use: "create SET", name: "shareset.create", member: "id", short: "Make another share set that opens a keystore in place of the one in force",
			flags: func(p *params) {
				p.text("keystore", "keystore", "", "keystore that it opens")
				quorum(p)
			}, required: []string{"keystore", "threshold", "holder"}}.command())
}

func sharesetList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List share sets: epochs in force and pending, and old shares not proven destroyed", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list, err := s.client.ShareSets(s.ctx)
			if err != nil {
				return err
			}
			return s.show(list, func(w io.Writer) { writeShareSets(w, list) })
		}),
	}
}

func writeShareSets(w io.Writer, list []api.ShareSet) {
	var rows [][]string
	for _, x := range list {
		pending := "–"
		if p := x.Pending; p != nil {
			pending = fmt.Sprintf("epoch %d: %d of %d, %d confirmed, %d needed", p.Epoch, p.Threshold, p.Total, p.Confirmed, p.Needed)
		}
		rows = append(rows, []string{x.ID, x.Keystore, number(x.Epoch), fmt.Sprintf("%d of %d", x.Threshold, x.Total), number(x.Confirmed), number(x.Lost), pending, x.Status})
	}
	table(w, []string{"SET", "KEYSTORE", "EPOCH", "QUORUM", "CONFIRMED", "LOST", "PENDING", "STATUS"}, rows)
}
