package render

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/xuri/excelize/v2"

	"conclave/reports"
	"conclave/reports/control"
)

// harmless makes a text that a spreadsheet would take for a formula plain text: such a cell begins with an apostrophe
// (OWASP, CSV injection). A number stays a number.
func harmless(text string) string {
	first := strings.TrimLeftFunc(text, unicode.IsSpace)
	if first != "" && strings.ContainsRune("=+-@|%", rune(first[0])) && !number(first) {
		return "'" + text
	}
	return text
}

func number(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

// csvTime is the time of every file in the archive, so that equal reports give equal archives.
func csvTime() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }

// CSV writes the row sets of a report as a zip archive of CSV files (RFC 4180): summary.csv, and a file a table.
func CSV(w io.Writer, r *reports.Report) error {
	visible, err := makeVisible(r)
	if err != nil {
		return err
	}
	return writeCSV(w, documentOf(visible))
}

func writeCSV(w io.Writer, d *document) error {
	archive := zip.NewWriter(w)
	if err := addCSV(archive, "summary.csv", d.summary()); err != nil {
		return err
	}
	used := map[string]bool{}
	for n, x := range d.sections {
		stem := plainName(x.id)
		if stem == "" || used[stem] { // a part of a register has no id, and many have tables of the same title
			title, _, _ := strings.Cut(x.title, ":")
			stem = fmt.Sprintf("%03d-%s", n+1, plainName(title))
		}
		used[stem] = true
		for i, t := range x.tables {
			if err := addCSV(archive, fmt.Sprintf("rows/%s-%d-%s.csv", stem, i+1, plainName(t.Title)), rowsOf(t)); err != nil {
				return err
			}
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	return nil
}

func addCSV(archive *zip.Writer, name string, lines [][]string) error {
	f, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: csvTime()})
	if err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	out := csv.NewWriter(f)
	out.UseCRLF = true
	for _, line := range lines {
		safe := make([]string, len(line))
		for i, text := range line {
			safe[i] = harmless(text)
		}
		if err := out.Write(safe); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// plainName keeps letters and digits for a file or sheet name.
func plainName(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 48 {
			break
		}
	}
	return strings.Trim(b.String(), "-.")
}

// summary is the first sheet: facts, then a line a control.
func (d *document) summary() [][]string {
	lines := [][]string{{d.over, d.title}, {"", d.lede}}
	if d.development {
		lines = append(lines, []string{"DEVELOPMENT INSTANCE", "demo people, lowered floor: nothing here is evidence about a real system"})
	}
	for _, f := range d.facts {
		if f[1] != "" {
			lines = append(lines, []string{f[0], f[1]})
		}
	}
	lines = append(lines, []string{}, []string{"control", "title", "verdict", "conclusion", "why", "question", "rows", "violating"})
	for _, x := range d.sections {
		rows, violating := 0, 0
		for _, t := range x.tables {
			rows, violating = rows+t.Total, violating+t.Violating
		}
		lines = append(lines, []string{x.id, x.title, string(x.verdict), concluded(x), x.summary, x.question, fmt.Sprint(rows), fmt.Sprint(violating)})
	}
	return lines
}

func rowsOf(t control.Table) [][]string {
	head := []string{"found"}
	for _, c := range t.Columns {
		head = append(head, c.Name)
	}
	lines := [][]string{append(head, "why", "ledger entries")}
	for _, r := range t.Rows {
		seqs := make([]string, len(r.Ledger))
		for i, n := range r.Ledger {
			seqs[i] = fmt.Sprint(n)
		}
		lines = append(lines, append(append([]string{string(r.State)}, r.Cells...), r.Why, strings.Join(seqs, " ")))
	}
	return lines
}

// XLSX writes a report as a workbook: a summary, and a sheet a control with its tables. All cells are text or whole
// numbers; there is no formula and no link.
func XLSX(w io.Writer, r *reports.Report) error {
	visible, err := makeVisible(r)
	if err != nil {
		return err
	}
	return writeXLSX(w, documentOf(visible))
}

func writeXLSX(w io.Writer, d *document) (err error) {
	f := excelize.NewFile()
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("closing workbook: %w", e)
		}
	}()
	made := d.made
	if err := f.SetDocProps(&excelize.DocProperties{Title: d.title, Creator: "conclave", Created: made, Modified: made}); err != nil {
		return fmt.Errorf("naming workbook: %w", err)
	}
	style, err := sheetStyles(f)
	if err != nil {
		return fmt.Errorf("styling workbook: %w", err)
	}
	if err := f.SetSheetName("Sheet1", "Summary"); err != nil {
		return fmt.Errorf("naming sheet: %w", err)
	}
	if err := fillSheet(f, "Summary", d.summary(), style); err != nil {
		return err
	}
	used := map[string]bool{"summary": true}
	for i, x := range d.sections {
		if len(x.tables) == 0 {
			continue
		}
		name := sheetName(x, i, used)
		if _, err := f.NewSheet(name); err != nil {
			return fmt.Errorf("adding sheet %s: %w", name, err)
		}
		lines := [][]string{{x.id, x.title}, {string(x.verdict), concluded(x)}, {"", x.summary}, {"", x.question}}
		for _, t := range x.tables {
			lines = append(lines, []string{}, []string{t.Title})
			lines = append(lines, rowsOf(t)...)
		}
		if err := fillSheet(f, name, lines, style); err != nil {
			return err
		}
	}
	var book bytes.Buffer
	if err := f.Write(&book); err != nil {
		return fmt.Errorf("writing workbook: %w", err)
	}
	return repack(w, book.Bytes())
}

// repack writes an archive with its files in order of name and without times, so that equal reports give equal files.
func repack(w io.Writer, book []byte) error {
	in, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
	if err != nil {
		return fmt.Errorf("reading workbook back: %w", err)
	}
	slices.SortFunc(in.File, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	out := zip.NewWriter(w)
	for _, f := range in.File {
		if err := copyFile(out, f); err != nil {
			return fmt.Errorf("writing workbook: %s: %w", f.Name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing workbook: %w", err)
	}
	return nil
}

func copyFile(out *zip.Writer, f *zip.File) error {
	to, err := out.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: csvTime()})
	if err != nil {
		return err
	}
	from, err := f.Open()
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil { //nolint:gosec // our own archive
		return err
	}
	return from.Close()
}

// sheetName is a name that workbooks take: at most 31 characters, without some, and not twice.
func sheetName(x section, i int, used map[string]bool) string {
	name := strings.NewReplacer(":", " ", "\\", " ", "/", " ", "?", " ", "*", " ", "[", "(", "]", ")", "'", " ").Replace(x.id)
	if name == "" {
		name = plainName(x.title)
	}
	if r := []rune(name); len(r) > 31 {
		name = string(r[:31])
	}
	if used[strings.ToLower(name)] || name == "" {
		name = fmt.Sprintf("Section %d", i+1)
	}
	used[strings.ToLower(name)] = true
	return name
}

// fillSheet streams lines into a sheet, so that a workbook takes no more memory than its largest row.
func fillSheet(f *excelize.File, name string, lines [][]string, style styles) error {
	if err := forPrint(f, name); err != nil {
		return fmt.Errorf("laying out sheet %s: %w", name, err)
	}
	out, err := f.NewStreamWriter(name)
	if err != nil {
		return fmt.Errorf("opening sheet %s: %w", name, err)
	}
	widths := sheetWidths(lines)
	for i, wide := range widths {
		if err := out.SetColWidth(i+1, i+1, wide); err != nil {
			return fmt.Errorf("sizing sheet %s: %w", name, err)
		}
	}
	for i, line := range lines {
		cells := make([]any, len(line))
		for j, text := range line {
			var value any = harmless(text)
			if n, err := wholeNumber(text); err == nil {
				value = n
			}
			cells[j] = excelize.Cell{StyleID: style.of(i, line), Value: value}
		}
		at, err := excelize.CoordinatesToCellName(1, i+1)
		if err != nil {
			return fmt.Errorf("writing sheet %s: %w", name, err)
		}
		if err := out.SetRow(at, cells, excelize.RowOpts{Height: lineHeight(line, widths)}); err != nil {
			return fmt.Errorf("writing sheet %s: %w", name, err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing sheet %s: %w", name, err)
	}
	return nil
}

// styles are those of a workbook's cells.
type styles struct{ title, head, text int }

// of is the style of a line's cells.
func (s styles) of(i int, line []string) int {
	switch {
	case headLine(line):
		return s.head
	case i == 0:
		return s.title
	}
	return s.text
}

// lineHeight is how high a line is whose texts are wrapped to the columns' widths, in points: not every program finds that
// by itself.
func lineHeight(line []string, widths []float64) float64 {
	const each, most = 13.5, 400
	lines := 1.0
	for j, text := range line {
		if j < len(widths) {
			lines = max(lines, math.Ceil(float64(len([]rune(text)))*1.1/widths[j]))
		}
	}
	return min(lines*each+2, most)
}

func sheetStyles(f *excelize.File) (styles, error) {
	head, err := f.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}, Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"},
		Border: []excelize.Border{{Type: "bottom", Color: "C8CED6", Style: 1}}})
	if err != nil {
		return styles{}, err
	}
	text, err := f.NewStyle(&excelize.Style{Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"}})
	if err != nil {
		return styles{}, err
	}
	title, err := f.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true, Size: 14}})
	return styles{title, head, text}, err
}

// headLine says that a line names the columns below it.
func headLine(line []string) bool {
	return len(line) > 1 && (line[0] == "found" || line[0] == "control")
}

// forPrint has a sheet printed in landscape, as wide as one page.
func forPrint(f *excelize.File, name string) error {
	fit, wide, high, landscape := true, 1, 0, "landscape"
	if err := f.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: &fit}); err != nil {
		return err
	}
	return f.SetPageLayout(name, &excelize.PageLayoutOptions{Orientation: &landscape, FitToWidth: &wide, FitToHeight: &high})
}

// tabularLines says of each line whether it is of a table: a head, and what follows it up to an empty line.
func tabularLines(lines [][]string) []bool {
	out, within := make([]bool, len(lines)), false
	for i, line := range lines {
		within = headLine(line) || within && len(line) > 0
		out[i] = within
	}
	return out
}

// sheetWidths are the columns' widths, in characters, after what stands in the tables: longer texts are wrapped.
func sheetWidths(lines [][]string) []float64 {
	const least, most = 10, 52
	var out []float64
	for n, tabular := range tabularLines(lines) {
		if !tabular {
			continue
		}
		line := lines[n]
		for i, text := range line {
			if i == len(out) {
				out = append(out, least)
			}
			out[i] = max(out[i], min(float64(len([]rune(text))+2), most))
		}
	}
	for len(out) < 2 {
		out = append(out, least)
	}
	out[0], out[1] = max(out[0], 18), max(out[1], 44) // what stands above the tables
	return out
}

// wholeNumber reads a number that a spreadsheet keeps exactly (15 digits), without leading zeros: check values are text.
func wholeNumber(text string) (int64, error) {
	if len(text) == 0 || len(text) > 15 || (len(text) > 1 && text[0] == '0') || !number(text) {
		return 0, fmt.Errorf("%q is text", text)
	}
	var n int64
	_, err := fmt.Sscan(text, &n)
	return n, err
}
