package render

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	_ "embed"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/reports"
)

//go:embed register.html.tmpl
var registerPage string

// RegisterJSON writes a register as canonical JSON, indented for reading.
func RegisterJSON(w io.Writer, r *reports.Register) error {
	raw, err := r.JSON()
	if err != nil {
		return err
	}
	v := jsontext.Value(raw)
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return fmt.Errorf("indenting register: %w", err)
	}
	if _, err := w.Write(append(v, '\n')); err != nil {
		return fmt.Errorf("writing register: %w", err)
	}
	return nil
}

// RegisterHTML writes a register as a page that needs nothing but itself.
func RegisterHTML(w io.Writer, r *reports.Register) error {
	shown, err := visibleRegister(r)
	if err != nil {
		return err
	}
	t, err := template.New("register").Funcs(functions()).Parse(registerPage)
	if err != nil {
		return fmt.Errorf("parsing page: %w", err)
	}
	digest := sha256.Sum256([]byte(style))
	view := struct {
		*reports.Register
		Style     template.CSS
		StyleHash template.HTMLAttr
		Facts     [][2]string
		Sign      string
	}{shown, template.CSS(style), template.HTMLAttr(fmt.Sprintf(`content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'"`, //nolint:gosec // embedded at build time
		base64.StdEncoding.EncodeToString(digest[:]))), registerFacts(shown), signCommand(shown)}
	if err := t.Execute(w, view); err != nil {
		return fmt.Errorf("rendering register: %w", err)
	}
	return nil
}

func registerFacts(r *reports.Register) [][2]string {
	return append(facts(r.Instance, r.From, r.To, r.AsOf, r.GeneratedAt, r.Checkpoint), [2]string{"Digest of the list", r.Digest})
}

// RegisterPDF writes a register as PDF.
func RegisterPDF(w io.Writer, r *reports.Register) error {
	return throughDocument(w, r, writePDF)
}

// RegisterCSV writes the tables of a register as a zip archive of CSV files.
func RegisterCSV(w io.Writer, r *reports.Register) error {
	return throughDocument(w, r, writeCSV)
}

// RegisterXLSX writes a register as a workbook.
func RegisterXLSX(w io.Writer, r *reports.Register) error {
	return throughDocument(w, r, writeXLSX)
}

func throughDocument(w io.Writer, r *reports.Register, write func(io.Writer, *document) error) error {
	shown, err := visibleRegister(r)
	if err != nil {
		return err
	}
	d := &document{paperRows: registerRows, over: "Register", title: shown.Title, lede: fmt.Sprintf("%s, as of %s", shown.Instance.Name, moment(shown.AsOf)), facts: registerFacts(shown), development: shown.Development(),
		made: shown.GeneratedAt.UTC().Format(rfc3339), intro: shown.Intro, sign: signCommand(shown), running: shown.Instance.Name + " · " + shown.Title,
		footer: fmt.Sprintf("%s · instance %s · checkpoint of %d entries · digest %s", shown.Register, shown.Instance.ID[:min(16, len(shown.Instance.ID))], shown.Checkpoint.Size, shown.Digest[:min(16, len(shown.Digest))])}
	for _, p := range shown.Parts {
		x := section{title: p.Title, tables: p.Tables, empty: "None."}
		for i, text := range p.Text {
			if i > 0 {
				x.demands += "\n"
			}
			x.demands += prose(text)
		}
		d.sections = append(d.sections, x)
	}
	return write(w, d)
}

// visibleRegister writes out characters that cannot be seen, as makeVisible does for reports.
func visibleRegister(r *reports.Register) (*reports.Register, error) {
	raw, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("preparing register for the page: %w", err)
	}
	out := new(reports.Register)
	if err := json.Unmarshal([]byte(visible(string(raw))), out); err != nil {
		return nil, fmt.Errorf("preparing register for the page: %w", err)
	}
	return out, nil
}

// signCommand puts a signed review of the register on record; "" where none is due.
func signCommand(r *reports.Register) string {
	if r.Review == "" {
		return ""
	}
	return fmt.Sprintf(`%s --sha256 %s --says "what you went over and found"`, r.Review, r.Digest)
}
