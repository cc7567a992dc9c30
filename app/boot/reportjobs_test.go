package boot_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/boot"
	"conclave/app/config"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/store/storetest"
)

func ada() identity.Principal { return identity.Principal{Kind: identity.Human, ID: "ada"} }

// ended waits until a report is made, or failed.
func ended(t *testing.T, jobs httpapi.ReportJobs, who identity.Principal, id string) api.ReportJob {
	t.Helper()
	var job api.ReportJob
	require.Eventually(t, func() bool {
		var err error
		job, err = jobs.Get(t.Context(), who, id)
		return err == nil && job.State != "running"
	}, 2*time.Minute, 20*time.Millisecond)
	return job
}

func TestReportJobsAreMadeAndSeenByTheirAskerAlone(t *testing.T) {
	cfg, _, _ := made(t)
	r := started(t, cfg)
	jobs := r.ReportJobs()
	eve := identity.Principal{Kind: identity.Human, ID: "eve"}
	now := time.Now().UTC()
	request := api.ReportRequest{Framework: "pci-dss-4.0.1", From: now.Add(-24 * time.Hour), To: now}

	job, err := jobs.Start(t.Context(), ada(), request, httpapi.FormatPDF)
	require.NoError(t, err)
	require.Equal(t, "running", job.State)
	_, err = jobs.Get(t.Context(), eve, job.ID)
	require.ErrorIs(t, err, httpapi.ErrNoReport, "it is ada's")
	job = ended(t, jobs, ada(), job.ID)
	require.Equal(t, "done", job.State, job.Error)
	require.NotZero(t, job.Checkpoint)
	_, err = jobs.Content(t.Context(), eve, job.ID)
	require.ErrorIs(t, err, httpapi.ErrNoReport)
	content, err := jobs.Content(t.Context(), ada(), job.ID)
	require.NoError(t, err)
	whole, err := io.ReadAll(content)
	require.NoError(t, err)
	sum := sha256.Sum256(whole)
	require.Equal(t, job.SHA256, hex.EncodeToString(sum[:]))
	require.Equal(t, job.Bytes, int64(len(whole)))
	for _, from := range []int64{10, 0, int64(len(whole)) - 1, int64(len(whole))} {
		_, err = content.Seek(from, io.SeekStart)
		require.NoError(t, err)
		rest, err := io.ReadAll(content)
		require.NoError(t, err)
		require.Equal(t, whole[from:], rest)
	}

	request.Framework = "nosuch"
	_, err = jobs.Start(t.Context(), ada(), request, httpapi.FormatJSON)
	var input *custodian.InputError
	require.ErrorAs(t, err, &input)
	require.Equal(t, "framework", input.Field)
	request.Framework, request.From, request.To = "pci-dss-4.0.1", now, now.Add(-time.Hour)
	_, err = jobs.Start(t.Context(), ada(), request, httpapi.FormatJSON)
	require.ErrorAs(t, err, &input)
}

// Reports that a stopped process had not made yet are made by the next one; those that it had made are there.
func TestReportJobsOutlastARestart(t *testing.T) {
	postgres := func(t *testing.T) *config.Config {
		b := begin(t, nil)
		cfg := settings(t, filepath.Join(t.TempDir(), "data"), map[string]string{"database.driver": "postgres", "database.dsn": storetest.Postgres(t)})
		_, err := boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
		require.NoError(t, err)
		return cfg
	}
	sqlite := func(t *testing.T) *config.Config { cfg, _, _ := made(t); return cfg }
	for driver, instance := range map[string]func(*testing.T) *config.Config{"sqlite": sqlite, "postgres": postgres} {
		t.Run(driver, func(t *testing.T) {
			cfg := instance(t)
			r := started(t, cfg)
			now := time.Now().UTC()
			var asked []api.ReportJob
			for _, framework := range []string{"pci-dss-4.0.1", "hipaa-security-rule", "nist-800-53r5", "pci-dss-4.0.1"} {
				job, err := r.ReportJobs().Start(t.Context(), ada(), api.ReportRequest{Framework: framework, From: now.Add(-24 * time.Hour)}, httpapi.FormatPDF)
				require.NoError(t, err)
				asked = append(asked, job)
			}
			_, err := r.ReportJobs().Start(t.Context(), ada(), api.ReportRequest{Framework: "pci-dss-4.0.1", From: now.Add(-24 * time.Hour)}, httpapi.FormatPDF)
			require.ErrorIs(t, err, httpapi.ErrReportsBusy)
			first := ended(t, r.ReportJobs(), ada(), asked[0].ID)
			stop(t, r)

			jobs := started(t, cfg).ReportJobs()
			for i, job := range asked {
				job = ended(t, jobs, ada(), job.ID)
				require.Equal(t, "done", job.State, job.Error)
				if i == 0 {
					require.Equal(t, first, job)
				}
				require.Equal(t, job.SHA256, digest(t, jobs, job.ID))
			}
		})
	}
}

func digest(t *testing.T, jobs httpapi.ReportJobs, id string) string {
	t.Helper()
	content, err := jobs.Content(context.Background(), ada(), id)
	require.NoError(t, err)
	sum := sha256.New()
	_, err = io.Copy(sum, content)
	require.NoError(t, err)
	return hex.EncodeToString(sum.Sum(nil))
}
