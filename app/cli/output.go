package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"
)

// show writes a result in the form asked for: v as JSON or YAML, or what table writes.
func (s *session) show(v any, table func(w io.Writer)) error {
	switch s.settings[setOutput] {
	case "json":
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding result: %w", err)
		}
		fmt.Fprintf(s.out, "%s\n", b)
		return nil
	case "yaml":
		return s.showYAML(v)
	}
	table(s.out)
	return nil
}

// showYAML goes through JSON, so that both forms have the same names.
func (s *session) showYAML(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding result: %w", err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(b, &node); err != nil { // JSON is YAML
		return fmt.Errorf("encoding result: %w", err)
	}
	blockStyle(&node)
	e := yaml.NewEncoder(s.out)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return fmt.Errorf("encoding result: %w", err)
	}
	return e.Close()
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		blockStyle(c)
	}
}

// table writes aligned columns; cells are made harmless.
func table(w io.Writer, head []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(head, "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = cell(r[i])
		}
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	_ = tw.Flush() // the writer below is a terminal or pipe; there is nobody left to tell
}

// facts writes name and value pairs and leaves out those without a value.
func facts(w io.Writer, pairs ...string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(tw, "%s\t%s\n", pairs[i], cell(pairs[i+1]))
		}
	}
	_ = tw.Flush()
}

func cell(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(s))
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

func maybe(t *time.Time) string {
	if t == nil {
		return ""
	}
	return when(*t)
}

func number[T ~int | ~int64 | ~uint32 | ~uint64](n T) string { return strconv.FormatInt(int64(n), 10) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
