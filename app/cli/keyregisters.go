package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
)

func templateCommand() *cobra.Command {
	list := register("List templates and how many keys were made under each", (*client.Client).Templates,
		[]string{"TEMPLATE", "STATUS", "CLASSIFICATION", "IDS BEGIN WITH", "KEYSTORES", "OWNERS", "MADE", "OF", "APPROVED BY"},
		func(t api.Template) []string {
			return []string{t.ID, t.Status, t.Classification, t.NamePrefix, strings.Join(t.Keystores, ", "), strings.Join(t.Owners, ", "), number(t.Made), number(t.MaxKeys), t.ApprovedBy}
		})
	return parent("template", "Templates: keys of lower classes without a quorum each", list,
		templateSet("create", "Propose a template: keys within its bounds take no further decision"),
		templateSet("alter", "Propose other bounds for a template"),
		proposal{use: "retire TEMPLATE", short: "Stop new keys under a template at once", name: "template.retire", member: "template", reasonMember: "reason"}.command())
}

func templateSet(verb, short string) *cobra.Command {
	return proposal{
		use: verb + " TEMPLATE", short: short, name: "template." + verb, member: "id",
		flags: func(p *params) {
			p.text("label", "label", "", "name for people")
			p.text("type", "type", "", "symmetric-data-encryption, symmetric-key-wrapping, symmetric-authentication, private-signature or private-key-transport")
			p.list("algorithm", "algorithms", "algorithm that a key may be of, e.g. ecdsa-p256; repeat for more; default: all of its type")
			p.text("classification", "classification", "", "public, internal or confidential")
			p.text("max-impact", "max_impact", "", "highest FIPS 199 impact: low, moderate or high")
			p.list("framework", "frameworks", "framework that a key may fall under; repeat for more")
			p.list("jurisdiction", "jurisdictions", "where a key may have to stay; repeat for more")
			p.text("environment", "environment", "", "production or test")
			p.list("keystore", "keystores", "keystore that a key may live in; repeat for more")
			p.list("owner", "owners", "person who may own a key; repeat for more")
			p.text("name-prefix", "name_prefix", "", "what every key's id begins with")
			p.number("max-oup-days", "max_oup_days", "most days that a key protects")
			p.number("max-rup-days", "max_rup_days", "most days that a key decrypts, from activation")
			p.number("max-rotate-days", "max_rotate_days", "most days until a key is rotated")
			p.number("max-keys", "max_keys", "most keys made under it")
		},
		required: []string{"label", "classification", "max-impact", "jurisdiction", "environment", "keystore", "owner", "name-prefix", "max-oup-days", "max-rup-days", "max-rotate-days", "max-keys"},
	}.command()
}

// counted adds the flag --count VERSION=RECORDS.
func (p *params) counted() {
	v := p.cmd.Flags().StringSlice("count", nil, "VERSION=RECORDS: records under a version of the key; repeat for more")
	p.put = append(p.put, func(out map[string]any) error {
		var counts []map[string]any
		for _, text := range *v {
			version, records, found := strings.Cut(text, "=")
			n, errVersion := strconv.ParseUint(version, 10, 32)
			r, errRecords := strconv.ParseInt(records, 10, 64)
			if !found || errVersion != nil || errRecords != nil || r < 0 {
				return usagef("count: %q; allowed: VERSION=RECORDS, as 1=250000", text)
			}
			counts = append(counts, map[string]any{"version": n, "records": r})
		}
		slices.SortFunc(counts, func(a, b map[string]any) int { return int(a["version"].(uint64)) - int(b["version"].(uint64)) })
		if len(counts) > 0 {
			out["counts"] = counts
		}
		return nil
	})
}

func (p *params) records(flag, member, help string) {
	v := p.cmd.Flags().Int64(flag, 0, help)
	p.put = append(p.put, func(out map[string]any) error {
		out[member] = *v
		return nil
	})
}

func assetCommand() *cobra.Command {
	list := register("List data under keys, as owners stated it", (*client.Client).Assets,
		[]string{"ASSET", "KEY", "WHAT", "KEPT AT", "OWNER", "RECORDS BY VERSION", "STATUS", "STATED", "CEREMONY"},
		func(a api.Asset) []string {
			return []string{a.ID, a.Key, a.Label, a.Location, a.Owner, countsWords(a.Counts), a.Status, when(a.At), a.Signed}
		})
	return parent("asset", "Data under keys: what owners answer for", list,
		proposal{
			use: "register ASSET", short: "State that data is under a key, or that there is none", name: "asset.register", member: "id", reasonMember: "reason",
			flags: func(p *params) {
				p.text("key", "key", "", "key")
				p.text("label", "label", "", "what data")
				p.text("location", "location", "", "where it is kept")
				p.text("owner", "owner", "", "person who answers for the counts; default: the key's owner")
				p.list("custody", "custody", "custody model that it lets its key be under, e.g. hyok; repeat for more; default: no demand")
				p.bool("none", "none", "nothing is under the versions counted (each with =0)")
				p.counted()
			},
			required: []string{"key", "label", "location", "count"},
		}.command(),
		proposal{
			use: "alter ASSET", short: "Correct what is on record of an asset; counts only grow here", name: "asset.alter", member: "asset", reasonMember: "reason",
			flags: func(p *params) {
				p.text("label", "label", "", "what data")
				p.text("location", "location", "", "where it is kept")
				p.text("owner", "owner", "", "person who answers for the counts")
				p.list("custody", "custody", "fewer custody models than it let its key be under before")
				p.counted()
			},
		}.command(),
		proposal{
			use: "rewrap ASSET", short: "State how many records were protected anew, and how many are left", name: "asset.rewrap", member: "asset", reasonMember: "reason",
			flags: func(p *params) {
				p.number("from", "from", "version that they were under")
				p.number("to", "to", "version that they are under now")
				p.records("rewrapped", "rewrapped", "records protected anew since the last statement")
				p.records("left", "left", "records left under the old version")
			},
			required: []string{"from", "to", "rewrapped", "left"},
		}.command(),
		proposal{
			use: "retire ASSET", short: "Take an asset out of the register", name: "asset.retire", member: "asset", reasonMember: "reason",
			flags: func(p *params) { p.bool("deleted", "deleted", "the data is gone") },
		}.command())
}

func countsWords(counts []api.AssetCount) string {
	var parts []string
	for _, c := range counts {
		parts = append(parts, fmt.Sprintf("v%d: %d", c.Version, c.Records))
	}
	return strings.Join(parts, ", ")
}
