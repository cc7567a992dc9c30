package render_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"html"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
	"conclave/reports/render"
)

func page(t *testing.T, r *reports.Report) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, render.HTML(&b, r))
	return b.String()
}

func TestPageIsSelfContained(t *testing.T) {
	t.Parallel()
	text := page(t, fixture.New(t, custodian.Production).Report(t))
	for _, forbidden := range []string{"<script", "<link", "<img", "src=", "@import", "url(", "style=", "http://", "https://", "onclick"} {
		require.NotContains(t, text, forbidden)
	}
	_, rest, found := strings.Cut(text, "<style>")
	require.True(t, found)
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	require.Contains(t, text, `content="default-src 'none'; style-src 'sha256-`+base64.StdEncoding.EncodeToString(sum[:])+`'`)
}

func TestPageShowsEveryControl(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production).Report(t)
	text := page(t, r)
	for _, c := range r.Controls {
		require.Contains(t, text, `id="c-`+strings.ReplaceAll(c.ID, ".", "-")+`"`)
		require.Contains(t, text, "v-"+strings.ReplaceAll(string(c.Result.Verdict), " ", "-"))
	}
	require.Contains(t, text, "#1<")
	require.NotContains(t, text, "DEVELOPMENT")
	require.NotContains(t, text, "ZgotmplZ")
}

func TestDevelopmentIsOnThePage(t *testing.T) {
	t.Parallel()
	require.Contains(t, page(t, fixture.New(t, custodian.Development).Report(t)), "DEVELOPMENT INSTANCE")
}

func TestHostileNamesAreHarmless(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production, func(h *fixture.History) {
		h.People[0].Name = `<script>alert(1)</script>"'&`
		h.People[1].Name = "Boris \u202edecivorp\u2066\u200b\u0085"
		h.Keystores[0].Location = "</style><b>"
	}).Report(t)
	shown := page(t, r)
	require.NotContains(t, shown, "<script")
	require.NotContains(t, shown, "</style><b>")
	for _, c := range []string{"\u202e", "\u2066", "\u200b", "\u0085"} {
		require.NotContains(t, shown, c)
	}
	require.Contains(t, html.UnescapeString(shown), "‹U+202E›decivorp‹U+2066›‹U+200B›‹U+0085›")
	require.Equal(t, page(t, r), shown, "the same report gives the same page")
}

func TestJSONIsTheReport(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production).Report(t)
	var b bytes.Buffer
	require.NoError(t, render.JSON(&b, r))
	back, err := reports.Parse(b.Bytes())
	require.NoError(t, err)
	want, err := r.JSON()
	require.NoError(t, err)
	got, err := back.JSON()
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// TestSpecimen writes reports with every verdict into the directory that CONCLAVE_SPECIMEN names, to be looked at.
func TestSpecimen(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Development, func(h *fixture.History) {
		h.AddKey("cards-test", "test", key.CardholderData, h.Versions[0].CheckValue)
		h.People[1].Acknowledgement.ExpiresAt = fixture.Days(10)
		h.People[2].Name = "Chén 陈 <b>"
		h.Versions[0].OUPEnd = fixture.Days(6)
		h.Attestations = append(h.Attestations, fixture.Attest("a-idle", oversight.AttestAnswer, oversight.Met, 200, "pci-dss-4.0.1:8.2.8"),
			fixture.Attest("a-places", oversight.AttestCompensating, "", 200, "pci-dss-4.0.1:3.7.8"))
	}).Report(t)
	text := page(t, r)
	for _, v := range control.Verdicts() {
		require.Contains(t, text, string(v))
	}
	dir := os.Getenv("CONCLAVE_SPECIMEN")
	for name, write := range map[string]func(io.Writer, *reports.Report) error{"report.html": render.HTML, "report.pdf": render.PDF, "report.xlsx": render.XLSX, "report.zip": render.CSV} {
		var first, second bytes.Buffer
		require.NoError(t, write(&first, r), name)
		require.NoError(t, write(&second, r), name)
		require.True(t, bytes.Equal(first.Bytes(), second.Bytes()), "%s: the same report gives the same file", name)
		if dir != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), first.Bytes(), 0o600))
		}
	}
}

func TestRegistersInEveryFormat(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production, func(h *fixture.History) { h.People[0].Name = "<script>=1+1\u202e" })
	for _, name := range reports.Registers() {
		r, err := reports.MakeRegister(t.Context(), w.Source(t), name, fixture.Start(), fixture.Now(), fixture.Now(), nil)
		require.NoError(t, err)
		for kind, write := range map[string]func(io.Writer, *reports.Register) error{"html": render.RegisterHTML, "pdf": render.RegisterPDF, "xlsx": render.RegisterXLSX,
			"zip": render.RegisterCSV, "json": render.RegisterJSON} {
			var out bytes.Buffer
			require.NoError(t, write(&out, r), "%s %s", name, kind)
			require.NotEmpty(t, out.Bytes())
			if kind == "html" {
				for _, forbidden := range []string{"<script", "\u202e", "http://", "https://", "src="} {
					require.NotContains(t, out.String(), forbidden, name)
				}
			}
			if kind == "zip" {
				archive, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
				require.NoError(t, err)
				names := map[string]bool{}
				for _, f := range archive.File {
					require.False(t, names[f.Name], "%s: %s is there twice: unpacking would lose one", name, f.Name)
					require.NotContains(t, f.Name, "/-", "%s: a name that programs take for an option", name)
					names[f.Name] = true
				}
			}
			if dir := os.Getenv("CONCLAVE_SPECIMEN"); dir != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name+"."+kind), out.Bytes(), 0o600))
			}
		}
	}
}

// What a spreadsheet would take for a formula is text, in every cell that comes from outside.
func TestFormulasAreHarmless(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production, func(h *fixture.History) {
		h.People[0].Name = `=cmd|' /C calc'!A0`
		h.People[1].Name = "@SUM(1+1)*cmd"
		h.Keystores[0].Location = "  +1+1"
		h.Assets[0].Label = "-2+3"
	}).Report(t)
	var archive, book bytes.Buffer
	require.NoError(t, render.CSV(&archive, r))
	z, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	require.NoError(t, err)
	seen := false
	for _, f := range z.File {
		in, err := f.Open()
		require.NoError(t, err)
		lines, err := csv.NewReader(in).ReadAll()
		if !errors.Is(err, csv.ErrFieldCount) {
			require.NoError(t, err)
		}
		for _, line := range lines {
			for _, text := range line {
				require.False(t, text != "" && strings.ContainsRune("=+@", rune(strings.TrimSpace(text + "x")[0])), "%s: %q", f.Name, text)
				seen = seen || strings.HasPrefix(text, "'=cmd")
			}
		}
	}
	require.True(t, seen, "the name is there, as text")
	require.NoError(t, render.XLSX(&book, r))
	x, err := excelize.OpenReader(bytes.NewReader(book.Bytes()))
	require.NoError(t, err)
	require.Contains(t, x.GetSheetList(), "3.7.8")
	for _, sheet := range x.GetSheetList() {
		rows, err := x.GetRows(sheet)
		require.NoError(t, err)
		for i, row := range rows {
			for j := range row {
				at, err := excelize.CoordinatesToCellName(j+1, i+1)
				require.NoError(t, err)
				formula, err := x.GetCellFormula(sheet, at)
				require.NoError(t, err)
				require.Empty(t, formula)
			}
		}
	}
}

// A newcomer finds what to do first: what is wrong and what is asked, how to answer, who is who, in which zone times are.
func TestPageSaysWhatToDo(t *testing.T) {
	t.Parallel()
	r := fixture.New(t, custodian.Production, func(h *fixture.History) { h.People[1].Acknowledgement.ExpiresAt = fixture.Days(10) }).Report(t)
	text := html.UnescapeString(page(t, r))
	_, todo, found := strings.Cut(text, `<h2 id="todo">`)
	require.True(t, found)
	todo, _, _ = strings.Cut(todo, "</section>")
	for _, c := range r.Controls {
		switch c.Result.Verdict {
		case control.Violated:
			require.Contains(t, todo, c.Title+": "+c.Result.Summary+" First: ")
			require.Contains(t, todo, "Met when: ")
		case control.NoEvidence:
			require.Contains(t, todo, c.Title+": "+c.Result.Summary)
		case control.NeedsHuman:
			require.Contains(t, todo, c.Title+": "+c.Result.Question)
			require.Contains(t, text, "--control "+r.Framework+":"+c.ID+" --outcome")
		}
	}
	require.Contains(t, text, "(UTC)")
	require.Contains(t, text, r.Who.Rows[0].Cells[1])
	for part, name := range r.Parts {
		require.Contains(t, text, part+" "+name)
	}
}

// The register of access says how its review is signed, with the digest of what was gone over.
func TestRegisterSaysHowItIsSigned(t *testing.T) {
	t.Parallel()
	r, err := reports.MakeRegister(t.Context(), fixture.New(t, custodian.Production).Source(t), reports.RegisterAccess, fixture.Start(), fixture.Now(), fixture.Now(), nil)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, render.RegisterHTML(&out, r))
	require.Contains(t, html.UnescapeString(out.String()), "conclave audit attest --kind review --control pci-dss-4.0.1:7.2.4 --days 183 --reason \"review of access\" --sha256 "+r.Digest+` --says "`)
}
