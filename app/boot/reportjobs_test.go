package boot_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/identity"
)

func TestReportJobsAreMadeSeenAndForgotten(t *testing.T) {
	cfg, _, _ := made(t)
	r := started(t, cfg)
	jobs := r.ReportJobs()
	ada, eve := identity.Principal{Kind: identity.Human, ID: "ada"}, identity.Principal{Kind: identity.Human, ID: "eve"}
	now := time.Now().UTC()
	request := api.ReportRequest{Framework: "pci-dss-4.0.1", From: now.Add(-24 * time.Hour), To: now}

	job, err := jobs.Start(ada, request, httpapi.FormatPDF)
	require.NoError(t, err)
	require.Equal(t, "running", job.State)
	_, err = jobs.Get(eve, job.ID)
	require.ErrorIs(t, err, httpapi.ErrNoReport, "it is ada's")
	require.Eventually(t, func() bool {
		job, err = jobs.Get(ada, job.ID)
		return err == nil && job.State != "running"
	}, time.Minute, 20*time.Millisecond)
	require.Equal(t, "done", job.State, job.Error)
	content, err := jobs.Content(ada, job.ID)
	require.NoError(t, err)
	whole, err := io.ReadAll(content)
	require.NoError(t, err)
	sum := sha256.Sum256(whole)
	require.Equal(t, job.SHA256, hex.EncodeToString(sum[:]))
	require.Equal(t, job.Bytes, int64(len(whole)))
	_, err = content.Seek(10, io.SeekStart)
	require.NoError(t, err)
	rest, err := io.ReadAll(content)
	require.NoError(t, err)
	require.Equal(t, whole[10:], rest)
	require.NoError(t, content.Close())
	require.NoError(t, content.Close(), "twice does no harm")

	request.Framework = "nosuch"
	_, err = jobs.Start(ada, request, httpapi.FormatJSON)
	var input *custodian.InputError
	require.ErrorAs(t, err, &input)
	require.Equal(t, "framework", input.Field)
	request.Framework, request.From, request.To = "pci-dss-4.0.1", now, now.Add(-time.Hour)
	_, err = jobs.Start(ada, request, httpapi.FormatJSON)
	require.ErrorAs(t, err, &input)
}
