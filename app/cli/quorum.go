package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/amount"
)

func quorumCommand() *cobra.Command {
	return parent("quorum", "See what losses and pressure quorums withstand; try out changes", quorumHealth(), quorumSimulate())
}

func quorumHealth() *cobra.Command {
	c := &cobra.Command{
		Use: "health", Short: "Show who could act now, what losses are survived, who alone could act or block, what is overdue", Args: exactly(),
		Long: "Shows every share set and every operation: whether a quorum can be found now, how many people may be lost,\n" +
			"whoever they are, and which site, team or reporting line alone could bring it about or stop it. With\n" +
			"--operation it shows how that stands with each person who may ask for it.",
	}
	var filter client.QuorumFilter
	f := c.Flags()
	f.StringVar(&filter.Operation, "operation", "", "this operation alone, with everybody who could take part")
	f.StringVar(&filter.ShareSet, "share-set", "", "what this share set opens alone")
	f.StringVar(&filter.Level, "level", "", "those alone that are lost, no-spare or spare")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		h, err := s.client.QuorumHealth(s.ctx, filter)
		if err != nil {
			return err
		}
		return s.show(h, func(w io.Writer) { writeQuorumHealth(w, &h) })
	})
	return c
}

func writeQuorumHealth(w io.Writer, h *api.QuorumHealth) {
	facts(w, "as of", when(h.At), "active people", strconv.Itoa(h.Active), "policy", h.PolicyDigest)
	var rows [][]string
	for _, s := range h.Sets {
		rows = append(rows, []string{s.Set, s.Opens, fmt.Sprintf("%d of %d", s.Threshold, s.Total), strconv.Itoa(s.Usable), strconv.Itoa(s.Confirmed),
			survives(api.Losses{Survived: max(s.LossesSurvived, -1)}), sizingWords(s.Sizing)})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		table(w, []string{"SHARE SET", "OPENS", "QUORUM", "USABLE", "CONFIRMED", "SURVIVES LOSS OF", "SIZE"}, rows)
	}
	for _, s := range h.Sets {
		for _, warning := range s.Warnings {
			fmt.Fprintf(w, "warning: %s: %s\n", clean(s.Set), clean(warning))
		}
	}
	rows = nil
	for i := range h.Operations {
		o := &h.Operations[i]
		rows = append(rows, []string{o.Operation, orDash(o.Target), orDash(o.Set), o.Class, readiness(o.Ready, o.Class), survives(o.Losses),
			fmt.Sprintf("%d/%d/%d", o.CanAsk, o.CanApprove, o.CanAttend), orDash(placeWords(o.Act)), orDash(placeWords(o.Block))})
	}
	fmt.Fprintln(w)
	table(w, []string{"OPERATION", "KEYS", "SHARE SET", "CLASS", "NOW", "SURVIVES LOSS OF", "ASK/APPROVE/WITNESS", "COULD ACT ALONE", "COULD BLOCK ALONE"}, rows)
	for i := range h.Operations {
		writeOutlook(w, &h.Operations[i])
	}
	for _, o := range h.Overdue {
		due := "never done"
		if o.Due != nil {
			due = "due " + day(*o.Due)
		} else if o.Kind != "acknowledgement" {
			due = "overdue"
		}
		if o.Late && o.Due != nil {
			due += ", overdue"
		}
		fmt.Fprintf(w, "to do: %s of %s%s: %s\n", cell(o.Kind), cell(orDash(o.Person)), prefixed(", share set ", o.Set), due)
	}
}

func prefixed(before, text string) string {
	if text == "" {
		return ""
	}
	return before + cell(text)
}

// writeOutlook adds what a line of the table does not hold.
func writeOutlook(w io.Writer, o *api.Outlook) {
	name := cell(o.Operation) + prefixed(" ", o.Target) + prefixed(" of set ", o.Set)
	if o.Lack != "" {
		fmt.Fprintf(w, "out of reach: %s: %s\n", name, clean(o.Lack))
	}
	if o.Ready && !o.Losses.AtLeast && o.Losses.Survived == 0 && o.Class != "A" {
		fmt.Fprintf(w, "no spare: %s: not without %s\n", name, cell(strings.Join(o.Losses.Critical, ", ")))
	}
	for _, r := range o.Requesters {
		state := "finds a quorum among " + amount.Of(r.Approvers, "other")
		if !r.Ready {
			state = "would lack: " + clean(r.Lack)
		}
		fmt.Fprintf(w, "%s asked for by %s: %s\n", name, cell(r.Person), state)
	}
	if len(o.Approvers) > 0 {
		fmt.Fprintf(w, "%s approved by any of: %s\n", name, cell(strings.Join(o.Approvers, ", ")))
	}
	if len(o.Witnesses) > 0 {
		fmt.Fprintf(w, "%s witnessed by any of: %s\n", name, cell(strings.Join(o.Witnesses, ", ")))
	}
}

func readiness(ready bool, class string) string {
	switch {
	case class == "A":
		return "by decision"
	case ready:
		return "possible"
	}
	return "OUT OF REACH"
}

func survives(l api.Losses) string {
	switch {
	case l.AtLeast:
		return fmt.Sprintf("%d or more", l.Survived)
	case l.Survived < 0:
		return "–"
	case l.Survived == 0:
		return "NOBODY"
	}
	return strconv.Itoa(l.Survived)
}

func placeWords(places []api.Place) string {
	var out []string
	for _, p := range places {
		out = append(out, p.Kind+" "+p.Name)
	}
	return strings.Join(out, ", ")
}

func sizingWords(s api.Sizing) string {
	var against []string
	for _, r := range s.Rules {
		if !r.Holds {
			against = append(against, r.Name)
		}
	}
	switch {
	case len(against) > 0:
		return "against: " + strings.Join(against, ", ")
	case len(s.Presets) > 0:
		return "as preset " + strings.Join(s.Presets, ", ")
	}
	return "good"
}

func quorumSimulate() *cobra.Command {
	c := &cobra.Command{
		Use: "simulate", Short: "Show what a change of people, roles or shares would come to; nothing is changed", Args: exactly(),
		Long: "Shows approval quorums and share thresholds together, before and after, and why such a change would be\n" +
			"refused. Changes of one run are supposed together.\n\n" +
			"Examples:\n" +
			"  conclave quorum simulate --remove alice --remove bob\n" +
			"  conclave quorum simulate --roles carol=custodian+security-officer\n" +
			"  conclave quorum simulate --add 'id=dave,roles=custodian+witness,team=hsm,site=lyon' --share-set root=3:alice+bob+carol+dave",
	}
	var in api.Supposition
	f := c.Flags()
	f.StringSliceVar(&in.Remove, "remove", nil, "person who would leave; repeat for more")
	f.StringSliceVar(&in.Suspend, "suspend", nil, "person who would be suspended; repeat for more")
	f.StringSliceVar(&in.Resume, "resume", nil, "suspended person who would be released; repeat for more")
	roles := f.StringArray("roles", nil, "PERSON=ROLE[+ROLE…]: the roles that somebody would hold; repeat for more")
	add := f.StringArray("add", nil, "id=ID,roles=ROLE[+ROLE…],team=TEAM,site=SITE[,manager=PERSON]: somebody who would join; repeat for more")
	sets := f.StringArray("share-set", nil, "SET=M:PERSON+PERSON…: a share set as it would be, any M of its holders; repeat for more")
	f.StringVar(&in.Policy, "policy", "", "digest of the stored policy bundle that would be in force")
	all := f.Bool("all", false, "show operations that would stay as they are too")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := supposed(&in, *roles, *add, *sets); err != nil {
			return err
		}
		if err := s.connectAny(); err != nil {
			return err
		}
		out, err := s.client.SimulateQuorum(s.ctx, in)
		if err != nil {
			return err
		}
		return s.show(out, func(w io.Writer) { writeSimulation(w, &out, *all) })
	})
	return c
}

// supposed reads the flags that hold several values each.
func supposed(in *api.Supposition, roles, add, sets []string) error {
	in.Roles, in.Sets = map[string][]string{}, map[string]api.NewSet{}
	for _, text := range roles {
		id, list, found := strings.Cut(text, "=")
		if _, twice := in.Roles[id]; !found || id == "" || list == "" || twice {
			return usagef("roles: %q; allowed: PERSON=ROLE[+ROLE…], each person once", text)
		}
		in.Roles[id] = strings.Split(list, "+")
	}
	for _, text := range add {
		n, ok := newcomer(text)
		if !ok {
			return usagef("add: %q; allowed: id=ID,roles=ROLE[+ROLE…],team=TEAM,site=SITE[,manager=PERSON]", text)
		}
		in.Add = append(in.Add, n)
	}
	for _, text := range sets {
		id, rest, found := strings.Cut(text, "=")
		m, holders, also := strings.Cut(rest, ":")
		threshold, err := strconv.Atoi(m)
		if _, twice := in.Sets[id]; !found || !also || err != nil || id == "" || holders == "" || twice {
			return usagef("share-set: %q; allowed: SET=M:PERSON+PERSON…, each set once", text)
		}
		in.Sets[id] = api.NewSet{Threshold: threshold, Holders: strings.Split(holders, "+")}
	}
	return nil
}

func newcomer(text string) (n api.Newcomer, ok bool) {
	for _, pair := range strings.Split(text, ",") {
		name, value, found := strings.Cut(pair, "=")
		switch {
		case !found || value == "":
			return n, false
		case name == "id" && n.ID == "":
			n.ID = value
		case name == "roles" && n.Roles == nil:
			n.Roles = strings.Split(value, "+")
		case name == "team" && n.Team == "":
			n.Team = value
		case name == "site" && n.Site == "":
			n.Site = value
		case name == "manager" && n.Manager == "":
			n.Manager = value
		default:
			return n, false
		}
	}
	return n, n.ID != "" && n.Roles != nil && n.Team != "" && n.Site != ""
}

func writeSimulation(w io.Writer, out *api.Simulation, all bool) {
	fmt.Fprintf(w, "Supposing that %s.\n", clean(out.Assumes))
	var rows [][]string
	for _, s := range out.Sets {
		rows = append(rows, []string{s.Set, s.Opens, standWords(s.Before), standWords(s.After), sizingWords(s.After.Sizing)})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		table(w, []string{"SHARE SET", "OPENS", "BEFORE", "AFTER", "SIZE AFTER"}, rows)
	}
	rows = nil
	for _, o := range out.Operations {
		if o.Verdict != "same" || all {
			rows = append(rows, []string{o.Operation, orDash(o.Target), orDash(o.Set), o.Verdict, survives(o.Before.Losses), survives(o.After.Losses), orDash(o.After.Lack)})
		}
	}
	fmt.Fprintln(w)
	if len(rows) == 0 {
		fmt.Fprintln(w, "No operation would stand better or worse.")
	} else {
		table(w, []string{"OPERATION", "KEYS", "SHARE SET", "VERDICT", "SURVIVED LOSS OF", "WOULD SURVIVE", "WOULD LACK"}, rows)
	}
	if len(out.Refused) > 0 {
		fmt.Fprintln(w, "\nIt would be refused:")
	}
	for _, r := range out.Refused {
		writeReason(w, r)
	}
}

func standWords(s api.SetStand) string {
	if s.Survives < 0 {
		return fmt.Sprintf("%d of %d, %d could come: OUT OF REACH", s.Threshold, s.Total, len(s.Holders))
	}
	return fmt.Sprintf("%d of %d, %d could come, %d to spare", s.Threshold, s.Total, len(s.Holders), s.Survives)
}
