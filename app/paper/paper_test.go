package paper_test

import (
	"bytes"
	"compress/zlib"
	"image"
	"image/color"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/stretchr/testify/require"

	"conclave/app/paper"
	"conclave/ceremony/card"
	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

func named() paper.Share {
	return paper.Share{Instance: "Nordbank Zürich", InstanceID: strings.Repeat("3f8b6c1e", 8), Set: "root", Opens: "keystore main", Epoch: 3, Index: 2, Threshold: 3, Total: 5,
		Holder: "alice", HolderName: "Alice Łukasiewicz-Παπαδοπούλου", Fingerprint: card.Fingerprint([]byte("x")), Form: "root-3-2-paper",
		PrintedAt: time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)}
}

func shareOf(t *testing.T, size int) *shamir.Share {
	t.Helper()
	shares, err := shamir.Split(secret.Random(size), 3, 5, shamir.Set{ID: "root", Epoch: 3})
	require.NoError(t, err)
	return shares[1]
}

// content inflates the page's content stream.
func content(t *testing.T, pdf []byte) string {
	t.Helper()
	for _, part := range bytes.Split(pdf, []byte("stream\n"))[1:] {
		z, err := zlib.NewReader(bytes.NewReader(part))
		if err != nil {
			continue
		}
		if out, _ := io.ReadAll(z); bytes.Contains(out, []byte(" re f")) {
			return string(out)
		}
	}
	t.Fatal("no content stream")
	return ""
}

// drawn paints the black rectangles of a page, as a printer would, six dots to a point.
func drawn(t *testing.T, pdf []byte) image.Image {
	t.Helper()
	const dots = 6
	text := content(t, pdf)
	out := image.NewGray(image.Rect(0, 0, 596*dots, 842*dots))
	for i := range out.Pix {
		out.Pix[i] = 255
	}
	// The code is drawn last of what is filled with black: "0.000 g", then rectangles.
	code := text[strings.LastIndex(text, "0.000 g\n"):]
	number := func(s string) float64 {
		f, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err)
		return f * dots
	}
	count := 0
	for _, m := range regexp.MustCompile(`(?m)^(\S+) (\S+) (\S+) (\S+) re f$`).FindAllStringSubmatch(code, -1) {
		x, y, w, h := number(m[1]), number(m[2]), number(m[3]), number(m[4])
		for py := int(y + h); py < int(y); py++ {
			for px := int(x); px < int(x+w); px++ {
				out.SetGray(px, out.Rect.Dy()-py, color.Gray{})
			}
		}
		count++
	}
	require.Greater(t, count, 300)
	return out
}

// A card is drawn on both sizes of paper; the QR code that it shows, read from the drawing, is the share.
func TestCardShowsTheShare(t *testing.T) {
	share := shareOf(t, 32)
	want, err := share.Commitment()
	require.NoError(t, err)
	for size, phrase := range map[string]*secret.Bytes{paper.A4: secret.New([]byte("a passphrase for paper")), paper.Letter: nil} {
		c, err := card.New(share, phrase, false)
		require.NoError(t, err)
		text, err := c.Text()
		require.NoError(t, err)
		var pdf bytes.Buffer
		require.NoError(t, paper.Card(&pdf, size, named(), c.Protected(), text))
		require.True(t, strings.HasPrefix(pdf.String(), "%PDF-"))
		require.Contains(t, pdf.String(), "/Count 1\n")
		bitmap, err := gozxing.NewBinaryBitmapFromImage(drawn(t, pdf.Bytes()))
		require.NoError(t, err)
		read, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
		require.NoError(t, err)
		back, err := card.Read(secret.New([]byte(read.GetText())))
		require.NoError(t, err)
		opened, err := back.Open(phrase)
		require.NoError(t, err)
		got, err := opened.Commitment()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestLongShares(t *testing.T) {
	for size, fits := range map[int]bool{200: true, shamir.MaxSecret: false} {
		c, err := card.New(shareOf(t, size), nil, false)
		require.NoError(t, err)
		text, err := c.Text()
		require.NoError(t, err)
		err = paper.Card(io.Discard, paper.Letter, named(), false, text)
		if fits {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, paper.ErrSize)
		}
	}
	require.ErrorContains(t, paper.Envelope(io.Discard, "A5", named(), paper.Place{}, nil), "allowed are A4, Letter")
}

func TestEnvelope(t *testing.T) {
	var pdf bytes.Buffer
	rows := make([]paper.Row, 40)
	require.NoError(t, paper.Envelope(&pdf, paper.A4, named(), paper.Place{Site: "Zürich", Container: "金庫", Backup: "bob"}, rows))
	require.Contains(t, pdf.String(), "/Count 1\n")
}

// Names that the fonts cannot write are not printed wrong.
func TestNamesThatCannotBePrinted(t *testing.T) {
	for name, unprintable := range map[string]bool{
		"Alice Adams": false, "Łukasz Ğüneş": false, "Ελένη Παπαδοπούλου": false, "Никита Ёлкин": false, "Jose\u0301": false,
		"王小明": true, "محمد": true, "नीता": true, "x\u202ey": true, "q\u0301x": true, "tab\t": true,
	} {
		require.Equal(t, unprintable, paper.Unprintable(name), name)
	}
	s := named()
	s.HolderName, s.Instance, s.Development = "王小明", "銀行", true
	require.NoError(t, paper.Envelope(io.Discard, paper.A4, s, paper.Place{}, nil))
}
