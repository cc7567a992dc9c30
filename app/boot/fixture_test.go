package boot_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/app/config"
	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/policies"
)

// beginning is a genesis file with everybody's signature, and the people who signed.
type beginning struct {
	file       []byte
	signatures [][]byte
	signers    []*keyfile.Signer
}

// carriedDigest is the digest of the policies that the program carries.
var carriedDigest = sync.OnceValues(func() (string, error) {
	engine, err := policies.New(context.Background(), policies.Options{})
	if err != nil {
		return "", err
	}
	return engine.Digest(), nil
})

// begin makes a development instance's genesis: five demo people, one keystore, three of five.
func begin(t *testing.T, change func(*genesis.File)) beginning {
	t.Helper()
	carried, err := carriedDigest()
	require.NoError(t, err)
	f := genesis.File{Version: 1, Name: "demo", Mode: custodian.Development, PolicyDigest: carried,
		Attestation: genesis.Attestation{FingerprintsCompared: "not-compared", By: "demo-ada", At: time.Now().UTC().Truncate(time.Second)}}
	b := beginning{}
	ids := []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan", "demo-eve"}
	for i, id := range ids {
		signer, err := keyfile.Generate(id, []string{"ES256", "EdDSA"}[i%2])
		require.NoError(t, err)
		t.Cleanup(signer.Wipe)
		b.signers = append(b.signers, signer)
		roles := []people.Role{people.RoleCustodian, people.RoleKeyManager}
		if i < 2 {
			roles = append(roles, people.RoleSecurityOfficer)
		}
		share := signer.Public().ShareKey
		f.People = append(f.People, genesis.Person{ID: id, Name: "Demo " + id, Roles: roles, Team: []string{"red", "green", "blue"}[i%3],
			Site: []string{"north", "south"}[i%2], ApprovalKey: signer.Public().ApprovalKey, ShareKey: &share})
	}
	f.Keystores = []genesis.Keystore{{ID: "soft", Driver: "software", Jurisdiction: "EU", Environment: "test", Location: "demo rack",
		Controller: "demo-ada", ShareSet: genesis.ShareSet{ID: "soft-shares", Threshold: 3, Holders: ids}}}
	if change != nil {
		change(&f)
	}
	b.file, err = f.Encode()
	require.NoError(t, err)
	for _, signer := range b.signers {
		envelope, err := genesis.Sign(signer, b.file)
		if err != nil {
			continue // a file that nobody can sign is what the test is about
		}
		b.signatures = append(b.signatures, envelope)
	}
	return b
}

func settings(t *testing.T, dir string, more map[string]string) *config.Config {
	t.Helper()
	flags := map[string]string{"data_dir": dir, "listen": "127.0.0.1:0"}
	for k, v := range more {
		flags[k] = v
	}
	c, err := config.Load(config.Sources{Flags: flags})
	require.NoError(t, err)
	return c
}

// made is an instance on disk.
func made(t *testing.T) (*config.Config, beginning, boot.InitResult) {
	t.Helper()
	b := begin(t, nil)
	cfg := settings(t, filepath.Join(t.TempDir(), "data"), nil)
	result, err := boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
	require.NoError(t, err)
	return cfg, b, result
}

// started runs it until the test ends.
func started(t *testing.T, cfg *config.Config) *boot.Running {
	t.Helper()
	r, err := boot.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, r) })
	return r
}

func stop(t *testing.T, r *boot.Running) {
	t.Helper()
	require.NoError(t, r.Close(t.Context()))
}

// browser trusts the development authority and nobody else.
func browser(t *testing.T, caFile string, version uint16) *http.Client {
	t.Helper()
	text, err := os.ReadFile(caFile)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: version}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}
