package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/client"
)

// Reports that one node was asked for are made by another when it dies, and fetched there; what one made every other
// gives, and it outlasts all of them.
func TestReportsOutlastTheirNode(t *testing.T) {
	t.Parallel()
	c := clustered(t, "")
	second := c.joined("node-2")
	auditor, err := second.bearer(c.auditor)
	require.NoError(t, err)
	var asked []*api.ReportJob
	for _, format := range []client.ReportFormat{client.ReportBundle, client.ReportPDF, client.ReportHTML, client.ReportXLSX} {
		job, err := auditor.StartReport(t.Context(), api.ReportRequest{Framework: "pci-dss-4.0.1", From: time.Now().Add(-24 * time.Hour)}, format)
		require.NoError(t, err)
		asked = append(asked, job)
	}
	second.kill()

	fetch := func(n *node, job *api.ReportJob) []byte {
		t.Helper()
		by, err := n.bearer(c.auditor)
		require.NoError(t, err)
		f, err := os.Create(filepath.Join(t.TempDir(), "report"))
		require.NoError(t, err)
		defer f.Close()
		require.NoError(t, by.AwaitReport(t.Context(), job, f, nil))
		got, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		require.NotEmpty(t, got)
		return got
	}
	var first [][]byte
	for _, job := range asked {
		first = append(first, fetch(c.n, job))
	}
	c.n.kill()
	second = c.serve("node-2", second.dir)
	for i, job := range asked {
		require.True(t, bytes.Equal(first[i], fetch(second, job)), "the same bytes from every node")
	}
	ada, err := second.as("ada")
	require.NoError(t, err)
	_, err = ada.api.ReportJob(t.Context(), asked[0].ID)
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, "not_found", p.Code, "it is the auditor's")
}
