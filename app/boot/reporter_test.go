package boot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports/bundle"
)

func TestReportsAreSignedRecordedAndVerifiable(t *testing.T) {
	cfg, _, result := made(t)
	r := started(t, cfg)
	now := time.Now().UTC()
	request := api.ReportRequest{Framework: "pci-dss-4.0.1", From: now.Add(-24 * time.Hour), To: now}

	var text, page, archive bytes.Buffer
	require.NoError(t, r.Reporter().Report(t.Context(), request, httpapi.FormatJSON, &text))
	require.Contains(t, text.String(), result.Instance)
	require.NoError(t, r.Reporter().Report(t.Context(), request, httpapi.FormatHTML, &page))
	require.Contains(t, page.String(), "<html")
	require.NoError(t, r.Reporter().Report(t.Context(), request, httpapi.FormatBundle, &archive))
	require.True(t, recorded(t, r, "report.generate"))

	for format, magic := range map[string]string{httpapi.FormatPDF: "%PDF", httpapi.FormatXLSX: "PK", httpapi.FormatCSV: "PK"} {
		var out bytes.Buffer
		require.NoError(t, r.Reporter().Report(t.Context(), request, format, &out))
		require.True(t, bytes.HasPrefix(out.Bytes(), []byte(magic)), format)
		out.Reset()
		require.NoError(t, r.Reporter().Report(t.Context(), api.ReportRequest{Register: "architecture", From: request.From, To: request.To}, format, &out))
		require.True(t, bytes.HasPrefix(out.Bytes(), []byte(magic)), format)
	}
	path := filepath.Join(t.TempDir(), "bundle.zip")
	require.NoError(t, os.WriteFile(path, archive.Bytes(), 0o600))
	trust, err := ledger.LoadTrustFile(result.TrustFile)
	require.NoError(t, err)
	verified, err := bundle.Verify(t.Context(), path, trust)
	require.NoError(t, err)
	require.Equal(t, "node-1", verified.Node)

	var input *custodian.InputError
	request.Framework = "nosuch"
	require.ErrorAs(t, r.Reporter().Report(t.Context(), request, httpapi.FormatJSON, &text), &input)
	require.Equal(t, "framework", input.Field)
}
