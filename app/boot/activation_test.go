package boot_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/boot"
	"conclave/app/client"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
)

// as is a client that signs as one person.
func as(t *testing.T, r *boot.Running, signer *keyfile.Signer) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: r.URL, CAFile: r.CAFile, Signer: signer, Person: signer.ID(), Instance: r.Custodian.Instance().ID})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// acknowledge signs the duties of a custodian.
func acknowledge(t *testing.T, c *client.Client, instance string, signer *keyfile.Signer, name string, roles []people.Role) {
	t.Helper()
	terms := people.NewTerms(instance, &people.Person{ID: signer.ID(), Name: name, Roles: roles}, []string{"soft-shares"}, time.Now().UTC())
	terms.TrainedOn, terms.Backup, terms.Conflicts = time.Now().UTC().Format(time.DateOnly), "demo deputy", "none"
	raw, err := json.Marshal(terms)
	require.NoError(t, err)
	payload, err := strictjson.Canonical(raw)
	require.NoError(t, err)
	envelope, err := signer.Sign(statement.TypeAcknowledgement, payload)
	require.NoError(t, err)
	_, err = c.Propose(t.Context(), "acknowledgement.sign", map[string]any{"envelope": json.RawMessage(envelope)}, "duties accepted")
	require.NoError(t, err)
}

// confirm proves that a holder can open their share.
func confirm(t *testing.T, c *client.Client, signer *keyfile.Signer) {
	t.Helper()
	shares, err := c.MyShares(t.Context())
	require.NoError(t, err)
	require.Len(t, shares, 1)
	share, err := signer.OpenShare(shares[0].Sealed)
	require.NoError(t, err)
	defer share.Wipe()
	challenge, err := base64.StdEncoding.DecodeString(shares[0].Challenge)
	require.NoError(t, err)
	signature, err := share.Sign(challenge)
	require.NoError(t, err)
	_, err = c.Propose(t.Context(), "share.confirm", map[string]any{"set": shares[0].Set, "epoch": shares[0].Epoch, "index": shares[0].Index,
		"challenge": shares[0].Challenge, "signature": base64.StdEncoding.EncodeToString(signature)}, "received")
	require.NoError(t, err)
}

// bring submits a holder's share to the activation ceremony that the node opened by itself.
func bring(t *testing.T, c *client.Client, signer *keyfile.Signer, trust *ledger.TrustFile, id string) api.Ceremony {
	t.Helper()
	collector, err := c.Collector(t.Context())
	require.NoError(t, err)
	_, recipient, err := client.VerifyCollector(trust, collector)
	require.NoError(t, err)
	shares, err := c.MyShares(t.Context())
	require.NoError(t, err)
	share, err := signer.OpenShare(shares[0].Sealed)
	require.NoError(t, err)
	defer share.Wipe()
	sealed, err := shamir.Seal(share, recipient)
	require.NoError(t, err)
	payload, err := c.Statement(t.Context(), id, string(statement.Approve))
	require.NoError(t, err)
	envelope, err := signer.Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	done, err := c.SubmitShare(t.Context(), id, api.ShareSubmission{Envelope: envelope, Sealed: sealed})
	require.NoError(t, err)
	return done
}

// asked waits until the node has asked for activation.
func asked(t *testing.T, c *client.Client) string {
	t.Helper()
	id := ""
	require.Eventually(t, func() bool {
		for ceremony, err := range c.Ceremonies(t.Context(), false) {
			if err == nil && ceremony.Operation == "keystore.activate" {
				id = ceremony.ID
			}
		}
		return id != ""
	}, time.Minute, 50*time.Millisecond)
	return id
}

func TestNodeAsksForSharesAndServesOnceThreeHaveBroughtTheirs(t *testing.T) {
	cfg, b, result := made(t)
	r := started(t, cfg)
	trust, err := ledger.LoadTrustFile(result.TrustFile)
	require.NoError(t, err)
	clients := make([]*client.Client, len(b.signers))
	for i, signer := range b.signers {
		clients[i] = as(t, r, signer)
		roles := []people.Role{people.RoleCustodian, people.RoleKeyManager}
		if i < 2 {
			roles = append(roles, people.RoleSecurityOfficer)
		}
		acknowledge(t, clients[i], r.Custodian.Instance().ID, signer, "Demo "+signer.ID(), roles)
		if i < 4 { // threshold + 1 are enough
			confirm(t, clients[i], signer)
		}
	}
	id := asked(t, clients[0])
	for i := range 3 {
		bring(t, clients[i], b.signers[i], trust, id)
	}
	require.Empty(t, r.Ready())
	code, _ := get(t, browser(t, r.CAFile, 0), r.URL+"/readyz")
	require.Equal(t, http.StatusOK, code)

	// After a restart the secret is gone: the node asks again.
	stop(t, r)
	again := started(t, cfg)
	require.NotEmpty(t, again.Ready())
	require.NotEqual(t, id, asked(t, as(t, again, b.signers[0])))
}
