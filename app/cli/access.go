package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
)

// register is a command that shows one register whole.
func register[T any](short string, fetch func(*client.Client, context.Context) ([]T, error), head []string, row func(T) []string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: short, Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list, err := fetch(s.client, s.ctx)
			if err != nil {
				return err
			}
			return s.show(list, func(w io.Writer) {
				var rows [][]string
				for _, x := range list {
					rows = append(rows, row(x))
				}
				table(w, head, rows)
			})
		}),
	}
}

func grantCommand() *cobra.Command {
	create := &cobra.Command{Use: "create", Short: "Propose that an application may use a key", Args: exactly()}
	p := newParams(create)
	p.text("id", "id", "", "id of the grant; default: made by the service")
	p.text("application", "application", "", "application")
	p.text("key", "key", "", "key")
	p.list("operation", "operations", "datakey, datakeypair, encrypt, decrypt, rewrap; sign, verify; mac, verify_mac: what goes with the key; repeat for more")
	p.pairs("context", "context", "field=value that every call's encryption context must have; repeat for more")
	p.number("days", "days", "days until the grant ends")
	reason := create.Flags().String("reason", "", "why, for the record")
	create.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		return s.propose("grant.create", params, *reason)
	})
	must(create, "application", "key", "operation", "days", "reason")
	list := register("List who may use which key", (*client.Client).Grants,
		[]string{"GRANT", "APPLICATION", "KEY", "OPERATIONS", "CONTEXT", "EXPIRES", "REVOKED"},
		func(g api.Grant) []string {
			return []string{g.ID, g.Application, g.Key, strings.Join(g.Operations, ", "), contextWords(g.Context), when(g.ExpiresAt), maybe(g.RevokedAt)}
		})
	return parent("grant", "Which application may use which key", list, create,
		proposal{
			use: "alter GRANT", short: "Propose to change what a grant allows, or until when", name: "grant.alter", member: "grant", reasonMember: "reason",
			flags: func(p *params) {
				p.list("operation", "operations", "as for grant create; default: as they are")
				p.pairs("context", "context", "field=value that every call's encryption context must have; default: as it is")
				p.number("days", "days", "days from now until it ends; default: as before")
			},
		}.command(),
		proposal{use: "revoke GRANT", short: "Revoke a grant at once", name: "grant.revoke", member: "grant", reasonMember: "reason"}.command())
}

func contextWords(c map[string]string) string {
	var parts []string
	for k, v := range c {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func applicationCommand() *cobra.Command {
	list := register("List applications", (*client.Client).Applications,
		[]string{"APPLICATION", "NAME", "OWNER", "ENVIRONMENT", "STATUS", "ENROLLED", "BY"},
		func(a api.Application) []string {
			return []string{a.ID, a.Name, a.Owner, a.Environment, a.Status, when(a.EnrolledAt), a.EnrolledBy}
		})
	return parent("application", "Applications: enrol, suspend, resume", list, applicationEnrol(),
		proposal{use: "suspend APPLICATION", short: "Suspend an application at once", name: "application.suspend", member: "application", reasonMember: "reason"}.command(),
		proposal{use: "resume APPLICATION", short: "Propose to release a suspended application", name: "application.resume", member: "application", reasonMember: "finding"}.command())
}

func applicationEnrol() *cobra.Command {
	c := &cobra.Command{
		Use: "enrol APPLICATION", Short: "Propose a new application", Args: exactly("APPLICATION"),
		Long: "Proposes a new application, with grants if wanted. Its token is made afterwards: conclave token issue.",
	}
	p := newParams(c)
	p.text("name", "name", "", "name for people")
	p.text("owner", "owner", "", "person who owns it")
	p.text("environment", "environment", "", "production or test")
	p.number("token-days", "token_days", "days that its tokens may last")
	grants := c.Flags().StringSlice("grant", nil, "KEY=OPERATION[+OPERATION…]; repeat for more")
	days := c.Flags().Uint32("grant-days", 0, "days until these grants end")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params["id"] = args[0]
		var list []map[string]any
		for _, text := range *grants {
			g, err := grantSpec(text, *days)
			if err != nil {
				return err
			}
			list = append(list, g)
		}
		if len(list) > 0 {
			params["grants"] = list
		}
		return s.propose("application.enrol", params, *reason)
	})
	return must(c, "name", "owner", "environment", "token-days", "reason")
}

func tokenCommand() *cobra.Command {
	issue := &cobra.Command{
		Use: "issue", Short: "Make a token for an application or an auditor; it is shown once", Args: exactly(),
	}
	p := newParams(issue)
	p.text("application", "application", "", "application the token is for")
	p.text("auditor", "auditor", "", "person with role auditor the token is for")
	p.number("days", "days", "days until it ends")
	reason := issue.Flags().String("reason", "", "why, for the record")
	issue.MarkFlagsOneRequired("application", "auditor")
	issue.MarkFlagsMutuallyExclusive("application", "auditor")
	issue.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		return s.propose("token.issue", params, *reason)
	})
	must(issue, "days", "reason")
	list := register("List tokens, without their secrets", (*client.Client).Tokens,
		[]string{"TOKEN", "KIND", "SUBJECT", "CREATED", "EXPIRES", "REVOKED"},
		func(t api.Token) []string {
			return []string{t.ID, t.Kind, t.Subject, when(t.CreatedAt), when(t.ExpiresAt), maybe(t.RevokedAt)}
		})
	return parent("token", "Tokens of applications and auditors", list, issue,
		proposal{use: "revoke TOKEN", short: "Revoke a token at once", name: "token.revoke", member: "token", reasonMember: "reason"}.command())
}

func personCommand() *cobra.Command {
	list := register("List people", (*client.Client).People,
		[]string{"PERSON", "NAME", "ROLES", "TEAM", "SITE", "MANAGER", "BACKUP", "STATUS", "KEYS", "ACKNOWLEDGED", "UNTIL", "LAST ACTIVE"},
		func(p api.Person) []string {
			status := p.Status
			if p.Until != nil {
				status += ", ends " + when(*p.Until)
			}
			return []string{p.ID, p.Name, strings.Join(p.Roles, ", "), p.Team, p.Site, p.Manager, p.Backup, status, number(len(p.ApprovalKeyIDs)),
				maybe(p.AcknowledgedAt), maybe(p.AckExpiresAt), maybe(p.LastActiveAt)}
		})
	return parent("person", "People: list, show, suspend, resume", list, personShow(),
		proposal{
			use: "suspend PERSON", short: "Suspend a person at once", name: "custodian.suspend", member: "person", reasonMember: "reason",
			flags: func(p *params) {
				p.bool("leaving", "leaving", "they are about to leave: open what must follow now")
			},
		}.command(),
		proposal{use: "resume PERSON", short: "Propose to release a suspended person", name: "custodian.resume", member: "person", reasonMember: "finding"}.command())
}
