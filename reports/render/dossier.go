package render

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/amount"
	"conclave/reports/workspace"
)

//go:embed dossier.html.tmpl
var dossierPage string

// Dossier writes a dossier as a page, as safe as [HTML]'s.
func Dossier(w io.Writer, d *workspace.Dossier) error {
	raw, err := json.Marshal(d, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("preparing dossier for the page: %w", err)
	}
	seen := new(workspace.Dossier)
	if err := json.Unmarshal([]byte(visible(string(raw))), seen); err != nil {
		return fmt.Errorf("preparing dossier for the page: %w", err)
	}
	funcs := functions()
	funcs["members"], funcs["called"] = members, called
	t, err := template.New("dossier").Funcs(funcs).Parse(dossierPage)
	if err != nil {
		return fmt.Errorf("parsing page: %w", err)
	}
	digest := sha256.Sum256([]byte(style))
	view := struct {
		*workspace.Dossier
		Style     template.CSS
		StyleHash template.HTMLAttr
	}{seen, template.CSS(style), //nolint:gosec // embedded at build time
		template.HTMLAttr(fmt.Sprintf(`content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'"`, base64.StdEncoding.EncodeToString(digest[:])))}
	if err := t.Execute(w, view); err != nil {
		return fmt.Errorf("rendering dossier: %w", err)
	}
	return nil
}

// called is what the subject's own row calls it, in words; "" where it has none.
func called(d *workspace.Dossier) string {
	if len(d.Facts) == 0 || d.Facts[0].Row.Kind != d.Kind {
		return ""
	}
	var own struct {
		Title string `json:"title"`
		Label string `json:"label"`
		Name  string `json:"name"`
	}
	if json.Unmarshal(d.Facts[0].Body, &own) != nil {
		return "" // a row of another form names itself otherwise, or is damaged
	}
	return cmp.Or(own.Title, own.Label, own.Name)
}

// member is one line of a row: where it is in the row, and what it says.
type member struct{ Name, Value string }

// maxMembers bounds the lines of one row on the page; the JSON has all.
const maxMembers = 200

// members flattens a JSON object: "history 2 · at".
func members(raw jsontext.Value) ([]member, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("reading a row: %w", err)
	}
	out := flatten(nil, "", v)
	if more := len(out) - maxMembers; more > 0 {
		out = append(out[:maxMembers], member{"…", amount.Of(more, "more line") + "; the JSON of the dossier has them"})
	}
	return out, nil
}

func flatten(out []member, name string, v any) []member {
	under := func(part string) string {
		part = strings.ReplaceAll(part, "_", " ")
		part = cmp.Or(memberWords[part], part)
		if name == "" {
			return part
		}
		return name + " · " + part
	}
	switch x := v.(type) {
	case map[string]any:
		if text, is := change(x); is {
			return append(out, member{name, text})
		}
		if text, is := transition(x); is {
			return append(out, member{name, text})
		}
		names := make([]string, 0, len(x))
		for k := range x {
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			out = flatten(out, under(k), x[k])
		}
	case []any:
		if texts, plain := joined(x); plain {
			return append(out, member{name, texts})
		}
		for i, y := range x {
			out = flatten(out, under(strconv.Itoa(i+1)), y)
		}
	case nil:
	case string:
		if strings.HasSuffix(name, memberWords["class"]) {
			x = cmp.Or(classWords[x], x)
		}
		out = append(out, member{name, prose(x)})
	case float64:
		out = append(out, member{name, strconv.FormatFloat(x, 'f', -1, 64)})
	default:
		out = append(out, member{name, fmt.Sprint(x)})
	}
	return out
}

// memberWords are the names of members that are not words.
var memberWords = map[string]string{"oup days": "protects for (days)", "oup end": "protects until", "rup days": "processes for (days)", "rup end": "processes until",
	"rotate days": "a new version after (days)", "gov revision": "revision of what is governed", "rng": "generator", "takes": "policy demands", "lines": "decided",
	"first seq": "first ledger entry", "last seq": "last ledger entry", "class": "class of operation", "params": "parameters"}

// classWords are the classes of operations.
var classWords = map[string]string{"G": "governed", "S": "attended by share holders", "P": "protective", "A": "pre-authorised", "D": "direct"}

// transition is a step of a key version from one state to another as one text: when, from where to where, by whom and why.
func transition(x map[string]any) (string, bool) {
	text := func(name string) string {
		s, _ := x[name].(string)
		return s
	}
	at, to, actor := text("at"), text("to"), text("actor")
	if at == "" || to == "" || actor == "" {
		return "", false
	}
	out := at + ": "
	if from := text("from"); from != "" {
		out += from + " → "
	}
	out += to + " (" + text("id") + "), by " + actor
	for _, more := range [][2]string{{", ceremony ", text("ceremony")}, {", to be reviewed by ", text("review_by")}, {". Reason: ", text("reason")}} {
		if more[1] != "" {
			out += more[0] + more[1]
		}
	}
	return prose(out), true
}

// change is a line of a ceremony's plan as one text: what, before and after.
func change(x map[string]any) (string, bool) {
	label, is := x["label"].(string)
	for name, v := range x {
		if _, text := v.(string); !is || !text || (name != "label" && name != "before" && name != "after") {
			return "", false
		}
	}
	before, _ := x["before"].(string)
	after, _ := x["after"].(string)
	if before != "" {
		after = before + " → " + after
	}
	return prose(label + ": " + after), is
}

// joined is a list of texts on one line.
func joined(list []any) (string, bool) {
	var texts []string
	for _, y := range list {
		s, ok := y.(string)
		if !ok {
			return "", false
		}
		texts = append(texts, s)
	}
	return strings.Join(texts, ", "), true
}
