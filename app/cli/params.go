package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// params maps a command's flags to an operation's parameters. Flags that were not given and have no
// default are left out, so that the service's own defaults hold.
type params struct {
	cmd *cobra.Command
	put []func(out map[string]any) error
}

func newParams(c *cobra.Command) *params { return &params{cmd: c} }

func (p *params) text(flag, member, initial, help string) {
	v := p.cmd.Flags().String(flag, initial, help)
	p.put = append(p.put, func(out map[string]any) error {
		if *v != "" {
			out[member] = *v
		}
		return nil
	})
}

func (p *params) number(flag, member, help string) {
	v := p.cmd.Flags().Uint32(flag, 0, help)
	p.put = append(p.put, func(out map[string]any) error {
		if p.cmd.Flags().Changed(flag) {
			out[member] = *v
		}
		return nil
	})
}

func (p *params) list(flag, member, help string) {
	v := p.cmd.Flags().StringSlice(flag, nil, help)
	p.put = append(p.put, func(out map[string]any) error {
		if len(*v) > 0 {
			out[member] = *v
		}
		return nil
	})
}

// texts is list for what may hold commas.
func (p *params) texts(flag, member, help string) {
	v := p.cmd.Flags().StringArray(flag, nil, help)
	p.put = append(p.put, func(out map[string]any) error {
		if len(*v) > 0 {
			out[member] = *v
		}
		return nil
	})
}

func (p *params) numbers(flag, member, help string) {
	v := p.cmd.Flags().StringToInt(flag, nil, help)
	p.put = append(p.put, func(out map[string]any) error {
		if len(*v) > 0 {
			out[member] = *v
		}
		return nil
	})
}

func (p *params) pairs(flag, member, help string) {
	v := p.cmd.Flags().StringToString(flag, nil, help)
	p.put = append(p.put, func(out map[string]any) error {
		if len(*v) > 0 {
			out[member] = *v
		}
		return nil
	})
}

// bool is always part of the parameters.
func (p *params) bool(flag, member, help string) {
	v := p.cmd.Flags().Bool(flag, false, help)
	p.put = append(p.put, func(out map[string]any) error {
		out[member] = *v
		return nil
	})
}

func (p *params) time(flag, member, help string) {
	v := p.cmd.Flags().String(flag, "", help)
	p.put = append(p.put, func(out map[string]any) error {
		if *v == "" {
			return nil
		}
		t, err := parseTime(flag, *v)
		if err != nil {
			return err
		}
		out[member] = t.UTC().Format(time.RFC3339)
		return nil
	})
}

func (p *params) collect() (map[string]any, error) {
	out := map[string]any{}
	for _, put := range p.put {
		if err := put(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseTime reads a day (its first instant in UTC) or an instant.
func parseTime(flag, text string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil && !t.IsZero() { // year 1 is how the service is told of none
			return t.UTC(), nil
		}
	}
	return time.Time{}, usagef("%s: %q; allowed: a day as 2006-01-02, or an instant as 2006-01-02T15:04:05Z", flag, text)
}

// proposal is a command that proposes one governed operation: the argument becomes one parameter, flags
// the rest. Every proposal has a reason; for operations that keep one it is a parameter too.
type proposal struct {
	use, short, long string
	name             string // of the operation
	member           string // parameter that the argument becomes
	reasonMember     string // parameter that the reason becomes too: "reason", "finding", "note" or ""
	findingHelp      string // what a finding is about, where it is not a suspension
	flags            func(p *params)
	required         []string
}

func (o proposal) command() *cobra.Command {
	argument := strings.ToUpper(o.member)
	if words := strings.Fields(o.use); len(words) > 1 {
		argument = words[1]
	}
	c := &cobra.Command{Use: o.use, Short: o.short, Long: o.long, Args: exactly(argument)}
	p := newParams(c)
	if o.flags != nil {
		o.flags(p)
	}
	flag, help := "reason", "why, for the record"
	switch o.reasonMember {
	case "finding":
		flag, help = "finding", cmp.Or(o.findingHelp, "how the finding behind the suspension was closed")
	case "note":
		flag, help = "note", "what was looked at and found"
	}
	reason := c.Flags().String(flag, "", help)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params[o.member] = args[0]
		if o.reasonMember != "" {
			params[o.reasonMember] = *reason
		}
		return s.propose(o.name, params, *reason)
	})
	return must(c, append(o.required, flag)...)
}

// grantSpec reads "KEY=operation+operation" into a grant of an enrolment.
func grantSpec(text string, days uint32) (map[string]any, error) {
	key, operations, found := strings.Cut(text, "=")
	if !found || key == "" || operations == "" {
		return nil, usagef("grant: %q; allowed: KEY=OPERATION[+OPERATION…], as orders=datakey+decrypt", text)
	}
	g := map[string]any{"key": key, "operations": strings.Split(operations, "+")}
	if days == 0 {
		return nil, fmt.Errorf("grant-days: %w", usagef("missing; a grant ends some day"))
	}
	g["days"] = days
	return g, nil
}
