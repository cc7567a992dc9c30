package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/custodian/amount"
)

func groupCommand() *cobra.Command {
	member := func(p *params) { p.text("member", "keystore", "", "keystore that it is about") }
	about := func(use, short, long, name string, flags func(*params)) *cobra.Command {
		return proposal{use: use, short: short, long: long, name: name, member: "group", reasonMember: "reason", flags: flags, required: []string{"member"}}.command()
	}
	return parent("group", "Keystore groups: several keystores that hold the same keys and serve for each other",
		groupList(),
		proposal{
			use: "create GROUP", short: "Propose one keystore of several that hold no keys yet", name: "group.create", member: "id", reasonMember: "reason",
			long: "Proposes to make one keystore of several, of one driver, environment and custody model, that hold no keys. Keys made\n" +
				"in the group are in each of them and pass between them wrapped, in no other form; calls go to whichever can serve.\n" +
				"It counts as its weakest member. All members must be active.",
			flags: func(p *params) {
				p.list("member", "members", "keystore, in order of preference; repeat for each")
				p.text("location", "location", "", "where its members are")
				p.text("controller", "controller", "", "person answerable for it")
			},
			required: []string{"member", "location", "controller"},
		}.command(),
		about("add GROUP", "Propose that another keystore without keys joins; it is sent the group's keys", "", "group.add", member),
		about("remove GROUP", "Propose to take a drained member out; its copies are destroyed", "Proposes to take a drained member out of a group. The copies of the group's keys in it are destroyed. One that can not be\n"+
			"asked any more is said to be lost: then they stay in it, and that is on record.", "group.remove", func(p *params) {
			member(p)
			p.bool("lost", "lost", "it can not be asked any more")
		}),
		about("drain GROUP", "Have nothing asked of a member, at once; the others go on", "Has nothing asked of a member any more, at once, for maintenance or because something is wrong with it. Others must be\n"+
			"able to serve, and hold every key. It comes back by a quorum: group undrain.", "group.drain", member),
		about("undrain GROUP", "Propose that a member serves again, after it has shown that it holds the right keys", "", "group.undrain", member),
		proposal{use: "resync GROUP", short: "Send keys to members that lack them, now instead of within seconds", name: "group.resync", member: "group", reasonMember: "reason"}.command(),
	)
}

func groupList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List groups, their members, and what those lack", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			all, err := s.client.Keystores(s.ctx)
			if err != nil {
				return err
			}
			groups := []api.Keystore{}
			for _, k := range all {
				if len(k.Members) > 0 {
					groups = append(groups, k)
				}
			}
			return s.show(groups, func(w io.Writer) { writeGroups(w, groups) })
		}),
	}
}

func writeGroups(w io.Writer, groups []api.Keystore) {
	var rows [][]string
	for _, g := range groups {
		for _, m := range g.Members {
			rows = append(rows, memberRow(g.ID, m))
		}
	}
	table(w, []string{"GROUP", "MEMBER", "STATE", "SINCE", "ACTIVE", "HOLDS", "LACKS", "LEFT ALONE"}, rows)
}

func memberRow(group string, m api.GroupMember) []string {
	return []string{group, m.Keystore, m.State, when(m.Since), yesNo(m.Active), number(m.Holds), number(m.Lacks), yesNo(m.Breaker)}
}

// writeMembers shows what a group is made of, or which group a keystore is part of.
func writeMembers(w io.Writer, k api.Keystore) {
	if k.MemberOf != "" {
		facts(w, "member of", k.MemberOf)
	}
	if len(k.Members) == 0 {
		return
	}
	io.WriteString(w, "\n")
	writeGroups(w, []api.Keystore{k})
	if k.Degraded > 0 {
		fmt.Fprintf(w, "DEGRADED: %s %s not in every serving member\n", amount.Of(k.Degraded, "key version"), amount.Verb(k.Degraded, "is", "are"))
	}
}
