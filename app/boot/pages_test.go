package boot_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/app/cli"
	"conclave/app/demo"
	"conclave/ceremony/operation"
	"conclave/policies"
)

// Pages are held against the program: what they tell people to type exists, and what can be watched is told.

// pages are README and everything in docs, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	out := map[string]string{}
	for _, path := range append(paths, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		out[path] = string(text)
	}
	return out
}

var (
	spans = regexp.MustCompile("`(conclave [^`;|<>]+)")
	// typed begins a command line in a block: alone, after `as NAME;`, or after another command.
	typed = regexp.MustCompile(`(?:^|;)\s*(conclave [^;|<>#]+)`)
	gap   = regexp.MustCompile(` {3,}`) // sets a remark apart
	// unset is what usage lines put around the words that somebody replaces or leaves out.
	unset = strings.NewReplacer("[", "", "]", "", "…", "", `\`, "")
)

// commandLines are the lines that a page tells people to type: in back quotes, indented, or fenced.
func commandLines(page string) []string {
	var out []string
	var prose strings.Builder
	fenced := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		block := fenced || strings.HasPrefix(line, "    ")
		if !block {
			prose.WriteString(line)
			continue
		}
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		line = gap.Split(line, 2)[0]
		for _, m := range typed.FindAllStringSubmatch(line, -1) {
			out = append(out, m[1])
		}
	}
	for _, m := range spans.FindAllStringSubmatch(prose.String(), -1) {
		out = append(out, m[1])
	}
	return out
}

func TestPagesNameCommandsThatExist(t *testing.T) {
	program := cli.Root(append(boot.Commands("test"), demo.Command(), cli.WitnessCommand(), cli.RestoreCommand(boot.Restore), cli.NodeCommand(boot.NodeFiles()))...)
	checked := 0
	for path, text := range pages(t) {
		for _, line := range commandLines(text) {
			checked++
			if problem := checkLine(program, unset.Replace(line)); problem != "" {
				t.Errorf("%s: %q: %s", filepath.Base(path), line, problem)
			}
		}
	}
	require.Greater(t, checked, 100, "command lines found")
}

// checkLine says what the program has not of a command line: command, flag, or place for an argument.
func checkLine(program *cobra.Command, line string) string {
	c, rest, err := program.Find(strings.Fields(line)[1:])
	if err != nil {
		return err.Error()
	}
	arguments, problem := arguments(c, rest)
	switch {
	case problem != "":
		return problem
	case c.HasSubCommands() && !c.Runnable() && len(arguments) > 0:
		return c.CommandPath() + " has no " + arguments[0]
	case len(arguments) > 0 && c.Args != nil && !strings.Contains(line, "'") && !strings.Contains(line, `"`):
		if err := c.Args(c, arguments); err != nil {
			return err.Error()
		}
	}
	return ""
}

// arguments are the words that are neither a flag nor its value.
func arguments(c *cobra.Command, words []string) (out []string, problem string) {
	for i := 0; i < len(words); i++ {
		name, long := strings.CutPrefix(words[i], "--")
		short := !long && len(words[i]) == 2 && words[i][0] == '-'
		if !long && !short {
			out = append(out, words[i])
			continue
		}
		name, _, valued := strings.Cut(name, "=")
		var f *pflag.Flag
		for _, flags := range []*pflag.FlagSet{c.Flags(), c.InheritedFlags()} {
			switch {
			case f != nil:
			case short:
				f = flags.ShorthandLookup(words[i][1:])
			default:
				f = flags.Lookup(name)
			}
		}
		if f == nil {
			return nil, c.CommandPath() + " has no flag " + words[i]
		}
		if !valued && f.NoOptDefVal == "" {
			i++
		}
	}
	return out, ""
}

// TestOperationsNamesEveryMetric: what is exported is explained to whoever watches.
func TestOperationsNamesEveryMetric(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	require.NoError(t, err)
	name := regexp.MustCompile(`"(conclave_[a-z_]+)"`)
	sources, err := filepath.Glob(filepath.Join(root, "app", "httpapi", "*metrics.go"))
	require.NoError(t, err)
	found := 0
	for _, path := range sources {
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range name.FindAllStringSubmatch(string(source), -1) {
			found++
			if !strings.Contains(string(text), "`"+m[1]+"`") {
				t.Errorf("docs/operations.md does not explain the metric %s", m[1])
			}
		}
	}
	require.NotZero(t, found)
}

// TestPagesNameRoutesThatExist: paths are those of the API's description.
func TestPagesNameRoutesThatExist(t *testing.T) {
	described, err := os.ReadFile(filepath.Join(root, "app", "httpapi", "openapi.yaml"))
	require.NoError(t, err)
	route := regexp.MustCompile("`(?:[A-Z]+ )?(/v1/[a-z0-9/{}._-]+)[?`]")
	for path, text := range pages(t) {
		for _, m := range route.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(described), "\n  "+m[1]+":\n") {
				t.Errorf("%s: the API has no %s", filepath.Base(path), m[1])
			}
		}
	}
}

// TestDependenciesAreExplained: what go.mod asks for itself is in docs/dependencies.md, by the last part of its name.
func TestDependenciesAreExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	require.NoError(t, err)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	required := regexp.MustCompile(`(?m)^\t(\S+?)(?:/v\d+)? v\S+$`)
	gathered := regexp.MustCompile(`^(gorm\.io/driver/\w+|github\.com/knadh/koanf/.+)$`) // told with what they belong to
	for _, m := range required.FindAllStringSubmatch(string(mod), -1) {
		if name := m[1][strings.LastIndex(m[1], "/")+1:]; !gathered.MatchString(m[1]) && !strings.Contains(string(text), name) {
			t.Errorf("docs/dependencies.md does not name %s", m[1])
		}
	}
}

// TestPagesLinkToWhatIsThere: files and headings.
func TestPagesLinkToWhatIsThere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)#?([^)\s]*)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for path, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := text
			if m[1] != "" {
				raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), m[1]))
				if err != nil {
					t.Errorf("%s: %v", filepath.Base(path), err)
					continue
				}
				target = string(raw)
			}
			found := m[2] == ""
			for _, h := range heading.FindAllStringSubmatch(target, -1) {
				found = found || strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == m[2]
			}
			if !found {
				t.Errorf("%s: %s has no heading %s", filepath.Base(path), m[1], m[2])
			}
		}
	}
}

// TestPagesGiveOperationsTheirClass: a table row of a page that begins with operations says of them what the table of
// the policy bundle says: class, security officer (+SO), witness (+W).
func TestPagesGiveOperationsTheirClass(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "policies", "data", "operations.json"))
	require.NoError(t, err)
	var table map[string][]struct {
		Class   string `json:"class"`
		Witness bool   `json:"witness"`
		Roles   []struct {
			Role string `json:"role"`
		} `json:"roles"`
	}
	require.NoError(t, json.Unmarshal(text, &table))
	row := regexp.MustCompile("(?m)^\\| (`[a-z-]+\\.[a-z-]+`(?:, `[a-z.-]+`)*) \\| ([GSPAD]\\b[^|]*) \\|")
	found := 0
	for path, page := range pages(t) {
		for _, m := range row.FindAllStringSubmatch(page, -1) {
			first := ""
			for _, name := range strings.Split(strings.ReplaceAll(m[1], "`", ""), ", ") {
				if strings.HasPrefix(name, ".") {
					name = first + name
				}
				first, _, _ = strings.Cut(name, ".")
				found++
				said := false
				for _, r := range table[name] {
					said = said || m[2][:1] == r.Class && strings.Contains(m[2], "+W") == r.Witness && strings.Contains(m[2], "+SO") == (len(r.Roles) > 0)
				}
				if !said {
					t.Errorf("%s: %s takes %q; policies/data/operations.json says otherwise", filepath.Base(path), name, m[2])
				}
			}
		}
	}
	require.Greater(t, found, 20)
}

// Whoever writes a verifier has the floor's classes from the page, row by row.
func TestPageOfRowsHasTheFloorsClasses(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "evidence-rows.md"))
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(text), "### Classes of operations")
	table, _, _ = strings.Cut(table, "\n### ")
	told := map[string][]policies.Class{"": {policies.Governed, policies.Attended}} // the sentence above it
	for _, row := range regexp.MustCompile("(?m)^\\| ([A-Z, ]+) \\| (`.*`) \\|$").FindAllStringSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			for class := range strings.SplitSeq(row[1], ", ") {
				told[name[1]] = append(told[name[1]], policies.Class(class))
			}
		}
	}
	require.Equal(t, policies.ClassTable(), told)
}

// TestLedgerFormatNamesEveryType: every operation, and every type of entry that a source file spells out.
func TestLedgerFormatNamesEveryType(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "ledger-format.md"))
	require.NoError(t, err)
	named := map[string]string{}
	for _, op := range operation.All() {
		named[op.Name()] = "an operation"
	}
	spelt := regexp.MustCompile(`(?:event\(|\bType: |\btx, |, k, changed, )"([a-z]+(?:\.[a-z_-]+)+)"`)
	for _, f := range goFiles(t) {
		if f.test || !strings.HasPrefix(f.path, "ceremony/") && !strings.HasPrefix(f.path, "custodian/") && !strings.HasPrefix(f.path, "app/") || strings.Contains(f.path, "test/") || f.dir == "app/bench" {
			continue
		}
		source, err := os.ReadFile(filepath.Join(root, f.path))
		require.NoError(t, err)
		for _, m := range spelt.FindAllStringSubmatch(string(source), -1) {
			named[m[1]] = f.path
		}
	}
	require.Greater(t, len(named), 80)
	for name, where := range named {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/ledger-format.md does not name %s (%s)", name, where)
		}
	}
}
