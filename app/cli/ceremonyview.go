package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"conclave/app/api"
	"conclave/custodian/amount"
)

// writeCeremony says in plain words what would happen, what it takes, and who has signed.
func writeCeremony(w io.Writer, c *api.Ceremony) {
	fmt.Fprintf(w, "%s\n\n", clean(c.Title))
	facts(w, "ceremony", c.ID, "operation", c.Operation+" (class "+c.Class+")", "state", stateWords(c),
		"target", targetWords(c.Target), "requested by", requesterWords(c.Requester), "reason", c.Reason,
		"about", strings.Join(c.Subjects, ", "), "led by", c.Administrator, "proposed", when(c.ProposedAt), "expires", when(c.ExpiresAt),
		"approved", maybe(c.ApprovedAt), "review due by", maybe(c.ReviewBy), "ended", maybe(c.EndedAt), "outcome", c.Outcome, "waits for", c.WaitsFor, "cites", c.Cites,
		"policy", c.PolicyDigest, "ledger", ledgerWords(c),
		"parameters", string(c.Params), "result", string(c.Result), "deviations", strings.Join(c.Deviations, "; "))
	if len(c.Lines) > 0 {
		fmt.Fprintln(w)
		var rows [][]string
		for _, l := range c.Lines {
			rows = append(rows, []string{l.Label, orDash(l.Before), orDash(l.After)})
		}
		table(w, []string{"WHAT", "BEFORE", "AFTER"}, rows)
	}
	writeItems(w, c)
	fmt.Fprintf(w, "\nIt takes: %s.\n", clean(takesWords(c)))
	for _, r := range c.Takes.Reasons {
		fmt.Fprintf(w, "  because: %s", clean(r.Message))
		if len(r.Controls) > 0 {
			fmt.Fprintf(w, " (%s)", clean(strings.Join(r.Controls, ", ")))
		}
		fmt.Fprintln(w)
	}
	if c.Review != nil {
		fmt.Fprintf(w, "Review: %s.\n", clean(reviewWords(c.Review)))
	}
	for _, v := range c.Votes {
		fmt.Fprintf(w, "Signed: %s %s at %s with key %s\n", clean(v.Person), clean(v.Decision), when(v.At), clean(v.Credential))
	}
	for _, x := range c.Components {
		if x.At != nil && !c.Ended() {
			fmt.Fprintf(w, "Component %d entered by %s at %s\n", x.Index, clean(x.Custodian), when(*x.At))
		}
	}
	for _, x := range c.Shares {
		fmt.Fprintf(w, "Share %d brought by %s at %s\n", x.Index, clean(x.Person), when(x.At))
	}
	writeCall(w, c)
	if c.Standing != nil {
		for _, why := range c.Standing.Refused {
			fmt.Fprintf(w, "Does not count: %s\n", clean(why))
		}
	}
	writeMissing(w, c)
}

// writeMissing says what is still needed, and who is left to fill it or that nobody is: that is learned best when it is
// asked for.
func writeMissing(w io.Writer, c *api.Ceremony) {
	if m := missing(c); len(m) > 0 {
		fmt.Fprintf(w, "Missing: %s.\n", clean(strings.Join(m, "; ")))
	}
	if c.Standing == nil || c.Standing.Met || c.Ended() {
		return
	}
	switch {
	case !c.Standing.Reachable:
		fmt.Fprintln(w, "As things stand nobody is left who could fill this: have somebody else ask, or see conclave quorum health.")
	case len(c.Standing.Eligible) > 0 && !c.Takes.Shares:
		fmt.Fprintf(w, "Who could still approve: %s.\n", clean(strings.Join(c.Standing.Eligible, ", ")))
	}
}

// writeItems says how far each item of a batch is, once it runs.
func writeItems(w io.Writer, c *api.Ceremony) {
	if len(c.Items) == 0 || (!c.Ended() && c.State != "executing" && c.State != "indeterminate") {
		return
	}
	fmt.Fprintln(w)
	var rows [][]string
	for i, it := range c.Items {
		rows = append(rows, []string{number(i + 1), targetWords(it.Target), orDash(it.State), orDash(it.Why), orDash(string(it.Result))})
	}
	table(w, []string{"ITEM", "TARGET", "STATE", "WHY", "RESULT"}, rows)
}

// writeOutcome says in a few lines where a ceremony stands now.
func writeOutcome(w io.Writer, c *api.Ceremony) {
	fmt.Fprintf(w, "%s\n", clean(c.Title))
	for _, l := range c.Lines {
		if c.State == "completed" && l.Before != "" {
			fmt.Fprintf(w, "  %s: %s, was %s\n", cell(l.Label), cell(orDash(l.After)), cell(l.Before))
		}
	}
	fmt.Fprintf(w, "Ceremony %s is %s; ledger %s.\n", clean(c.ID), clean(stateWords(c)), ledgerWords(c))
	if c.WaitsFor != "" {
		fmt.Fprintf(w, "It is tried again until its keystore serves: %s\n", clean(c.WaitsFor))
	}
	for _, d := range c.Deviations {
		fmt.Fprintf(w, "Left out: %s\n", clean(d))
	}
	if c.ReviewBy != nil {
		fmt.Fprintf(w, "To be reviewed by somebody who took no part, until %s: conclave review sign %s\n", when(*c.ReviewBy), clean(c.ID))
	}
	writeMissing(w, c)
}

func requesterWords(r api.Requester) string {
	if r.CalledBy != "" {
		return r.Name() + ", called for by " + r.CalledBy
	}
	return r.Name()
}

func ledgerWords(c *api.Ceremony) string {
	if c.LastSeq < c.FirstSeq {
		return fmt.Sprintf("from #%d", c.FirstSeq)
	}
	return fmt.Sprintf("#%d to #%d", c.FirstSeq, c.LastSeq)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func targetWords(t api.Target) string {
	if t.ID == "" {
		return t.Type
	}
	return fmt.Sprintf("%s %s (revision %d)", t.Type, t.ID, t.GovRevision)
}

func stateWords(c *api.Ceremony) string {
	if c.WaitLeft > 0 && !c.Ended() {
		return fmt.Sprintf("%s, waiting for another %s", c.State, time.Duration(c.WaitLeft).Round(time.Second))
	}
	return c.State
}

func takesWords(c *api.Ceremony) string {
	t := c.Takes
	var parts []string
	switch {
	case t.Shares:
		parts = append(parts, fmt.Sprintf("%d holders of share set %s, epoch %d, each with their share and signed approval", c.Threshold, c.ShareSet, c.ShareEpoch))
	case t.RequesterCounts:
		parts = append(parts, "the authority of the one who asks")
	case t.Approvals > 0:
		parts = append(parts, amount.Of(t.Approvals, "approval")+" by people other than the requester")
	default:
		parts = append(parts, "the governed decision that it rests on")
	}
	for _, r := range t.Roles {
		parts = append(parts, fmt.Sprintf("at least %d of them with role %s", r.Count, r.Role))
	}
	if len(t.ApproverRoles) > 0 {
		parts = append(parts, "each with one of the roles "+strings.Join(t.ApproverRoles, ", "))
	}
	if t.Witness {
		parts = append(parts, "a witness who attends and signs")
	}
	if t.CoolingOffSeconds > 0 {
		parts = append(parts, "cooling off for "+(time.Duration(t.CoolingOffSeconds)*time.Second).String())
	}
	if t.WaitSeconds > 0 {
		parts = append(parts, "a waiting period of "+(time.Duration(t.WaitSeconds)*time.Second).String()+", in which it can be cancelled")
	}
	return strings.Join(parts, "; ")
}

// missing says what an open ceremony still waits for: as the service counts now, where it said so. Lists do not
// carry that, and signatures are counted as given.
func missing(c *api.Ceremony) []string {
	if c.Ended() || c.State == "executing" || c.State == "indeterminate" {
		return nil
	}
	approved, attended := map[string]bool{}, false
	for _, v := range c.Votes {
		switch v.Decision {
		case "approve":
			approved[v.Person] = true
		case "attend":
			attended = true
		}
	}
	var out []string
	if c.Standing != nil {
		return append(append(out, c.Standing.Missing...), waiting(c)...)
	}
	if c.Takes.Shares {
		if n := c.Threshold - len(c.Shares); n > 0 {
			out = append(out, amount.Of(n, "share")+" of set "+c.ShareSet)
		}
	} else if n := c.Takes.Approvals - len(approved); n > 0 && !c.Takes.RequesterCounts {
		out = append(out, amount.Of(n, "approval"))
	}
	if c.Takes.Witness && !attended {
		out = append(out, "a witness")
	}
	return append(out, waiting(c)...)
}

func waiting(c *api.Ceremony) []string {
	if c.WaitLeft <= 0 {
		return nil
	}
	return []string{"the rest of the waiting period, " + time.Duration(c.WaitLeft).Round(time.Second).String()}
}

func writeCeremonies(w io.Writer, list []api.Ceremony) {
	var rows [][]string
	for i := range list {
		c := &list[i]
		rows = append(rows, []string{c.ID, c.Operation, stateWords(c), c.Target.ID, c.Requester.ID, when(c.ExpiresAt), strings.Join(missing(c), "; ")})
	}
	table(w, []string{"CEREMONY", "OPERATION", "STATE", "TARGET", "REQUESTED BY", "EXPIRES", "MISSING"}, rows)
}
