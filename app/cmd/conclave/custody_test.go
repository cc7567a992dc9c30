package main_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
)

// Names in the working instance.
const (
	cards = "cards"
	shop  = "shop"
)

// actor is a person at work against one server process, with nothing but their key file.
type actor struct {
	*person
	api  *client.Client
	node *node
}

func (n *node) as(id string) (*actor, error) {
	p := shared.person(id)
	c, err := n.dial("person "+id, client.Config{Signer: p.signer, Person: p.id, Instance: n.trust.Instance})
	if err != nil {
		return nil, err
	}
	return &actor{p, c, n}, nil
}

// acknowledge signs the form of duties.
func (a *actor) acknowledge(ctx context.Context) error {
	raw, err := json.Marshal(people.NewTerms(a.node.trust.Instance, &people.Person{ID: a.id, Name: "Test " + a.id, Roles: a.roles}, nil, time.Now()))
	if err != nil {
		return err
	}
	payload, err := strictjson.Canonical(raw)
	if err != nil {
		return err
	}
	envelope, err := a.signer.Sign(statement.TypeAcknowledgement, payload)
	if err != nil {
		return err
	}
	_, err = a.api.Propose(ctx, "acknowledgement.sign", map[string]any{"envelope": json.RawMessage(envelope)}, "")
	return err
}

// confirm signs the challenge of the person's own share of an epoch of the vault's set with it.
func (a *actor) confirm(ctx context.Context, epoch uint32) error {
	return a.confirmOf(ctx, vaultShares, epoch)
}

func (a *actor) confirmOf(ctx context.Context, set string, epoch uint32) error {
	line, share, err := a.share(ctx, set, epoch)
	if err != nil {
		return err
	}
	defer share.Wipe()
	challenge, err := base64.StdEncoding.DecodeString(line.Challenge)
	if err != nil {
		return err
	}
	signature, err := share.Sign(challenge)
	if err != nil {
		return err
	}
	_, err = a.api.Propose(ctx, "share.confirm", map[string]any{"set": line.Set, "epoch": line.Epoch, "index": line.Index,
		"challenge": challenge, "signature": signature}, "")
	return err
}

func (a *actor) share(ctx context.Context, set string, epoch uint32) (api.Share, *shamir.Share, error) {
	all, err := a.api.MyShares(ctx)
	if err != nil {
		return api.Share{}, nil, err
	}
	i := slices.IndexFunc(all, func(s api.Share) bool { return s.Set == set && s.Epoch == epoch })
	if i < 0 {
		return api.Share{}, nil, fmt.Errorf("%s holds no share of epoch %d of %s", a.id, epoch, set)
	}
	share, err := a.signer.OpenShare(all[i].Sealed)
	return all[i], share, err
}

// sign fetches the statement of an approval and signs it.
func (a *actor) sign(ctx context.Context, ceremony string) ([]byte, error) {
	payload, err := a.api.Statement(ctx, ceremony, "approve")
	if err != nil {
		return nil, err
	}
	s, err := statement.Parse(payload)
	if err != nil {
		return nil, err
	}
	if s.Instance != a.node.trust.Instance || s.Ceremony != ceremony || s.Signer != a.id {
		return nil, errors.New("the statement is not about this")
	}
	return a.signer.Sign(statement.TypeStatement, payload)
}

func (a *actor) approve(ctx context.Context, ceremony string) (api.Ceremony, error) {
	envelope, err := a.sign(ctx, ceremony)
	if err != nil {
		return api.Ceremony{}, err
	}
	return a.api.Vote(ctx, ceremony, envelope)
}

// bring hands in the person's share of the epoch that a ceremony takes.
func (a *actor) bring(ctx context.Context, ceremony string) (api.Ceremony, error) {
	var none api.Ceremony
	collector, err := a.api.Collector(ctx)
	if err != nil {
		return none, err
	}
	_, recipient, err := client.VerifyCollector(a.node.trust, collector)
	if err != nil {
		return none, err
	}
	c, err := a.api.Ceremony(ctx, ceremony)
	if err != nil {
		return none, err
	}
	_, share, err := a.share(ctx, c.ShareSet, c.ShareEpoch)
	if err != nil {
		return none, err
	}
	defer share.Wipe()
	envelope, err := a.sign(ctx, ceremony)
	if err != nil {
		return none, err
	}
	sealed, err := shamir.Seal(share, recipient)
	if err != nil {
		return none, err
	}
	return a.api.SubmitShare(ctx, ceremony, api.ShareSubmission{Envelope: envelope, Sealed: sealed})
}

// activation is the vault's open activation ceremony, asked for where there is none.
func (a *actor) activation(ctx context.Context) (api.Ceremony, error) {
	return a.activationOf(ctx, vault)
}

// activationOf is a keystore's, on the node that answers: each asks for itself.
func (a *actor) activationOf(ctx context.Context, keystore string) (api.Ceremony, error) {
	status, err := a.node.status(ctx)
	if err != nil {
		return api.Ceremony{}, err
	}
	for c, err := range a.api.Ceremonies(ctx, false) {
		if err != nil || c.Operation == "keystore.activate" && c.State == "gathering" && c.Target.ID == keystore && c.Requester.ID == status.Node {
			return c, err
		}
	}
	p, err := a.api.Propose(ctx, "keystore.activate", map[string]any{"keystore": keystore}, "start")
	return p.Ceremony, err
}

// activate opens the vault with three shares.
func (n *node) activate(ctx context.Context) error { return n.open(ctx, vault) }

func (n *node) open(ctx context.Context, keystore string) error {
	var c api.Ceremony
	for i, id := range []string{"ada", "ben", "cleo"} {
		a, err := n.as(id)
		if err != nil {
			return err
		}
		if i == 0 {
			if c, err = a.activationOf(ctx, keystore); err != nil {
				return fmt.Errorf("asking for the activation: %w", err)
			}
		}
		if c, err = a.bring(ctx, c.ID); err != nil {
			return fmt.Errorf("%s bringing a share: %w", id, err)
		}
	}
	if c.State != "completed" {
		return fmt.Errorf("activation is %s: %s", c.State, c.Outcome)
	}
	return nil
}

// govern proposes as cleo and has ada and ben approve.
func (n *node) govern(ctx context.Context, op string, params map[string]any) (api.Ceremony, error) {
	cleo, err := n.as("cleo")
	if err != nil {
		return api.Ceremony{}, err
	}
	proposed, err := cleo.api.Propose(ctx, op, params, "a test")
	if err != nil {
		return api.Ceremony{}, err
	}
	c := proposed.Ceremony
	for _, id := range []string{"ada", "ben"} {
		a, err := n.as(id)
		if err != nil {
			return c, err
		}
		if c, err = a.approve(ctx, c.ID); err != nil {
			return c, err
		}
	}
	if c.State != "completed" {
		err = fmt.Errorf("%s is %s: %s", op, c.State, c.Outcome)
	}
	return c, err
}

func keyParams(id string) map[string]any {
	return map[string]any{"id": id, "label": "Test key", "type": "symmetric-data-encryption", "classification": "cardholder-data",
		"impact": "moderate", "frameworks": []string{"pci-dss"}, "jurisdiction": "EU", "environment": "production", "owner": "cleo",
		"purpose": "tests", "keystore": vault}
}

// makeWorking takes a copy of the fresh instance to work, and stops it.
func (w *workshop) makeWorking() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := copyFolder(w.fresh, w.workingFolder); err != nil {
		return err
	}
	n, err := startNode(w, w.workingFolder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	w.appToken, w.auditorToken, err = n.begin(ctx)
	return err
}

// begin takes a fresh instance to work: duties accepted, shares confirmed, a key, an application, an auditor.
func (n *node) begin(ctx context.Context) (appToken, auditorToken string, err error) {
	for _, p := range shared.people[:holders] {
		a, err := n.as(p.id)
		if err != nil {
			return "", "", err
		}
		if err := errors.Join(a.acknowledge(ctx), a.confirm(ctx, 1)); err != nil {
			return "", "", fmt.Errorf("%s beginning: %w", p.id, err)
		}
	}
	if err := n.activate(ctx); err != nil {
		return "", "", err
	}
	enrol := map[string]any{"id": shop, "name": "Shop", "owner": "cleo", "environment": "production", "token_days": 90,
		"grants": []map[string]any{{"key": cards, "operations": []string{"datakey", "encrypt", "decrypt", "rewrap"}, "days": 365}}}
	if _, err := n.govern(ctx, "key.create", keyParams(cards)); err != nil {
		return "", "", err
	}
	if _, err := n.govern(ctx, "application.enrol", enrol); err != nil {
		return "", "", err
	}
	if appToken, err = n.token(ctx, "cleo", map[string]any{"application": shop, "days": 90}); err != nil {
		return "", "", err
	}
	auditorToken, err = n.token(ctx, "ada", map[string]any{"auditor": "audrey", "days": 30})
	return appToken, auditorToken, err
}

func (n *node) token(ctx context.Context, who string, params map[string]any) (string, error) {
	a, err := n.as(who)
	if err != nil {
		return "", err
	}
	p, err := a.api.Propose(ctx, "token.issue", params, "a test")
	if err == nil && p.Once == "" {
		err = errors.New("a token was issued and not delivered")
	}
	return p.Once, err
}

// working is a copy of the working instance.
func working(t *testing.T) string {
	t.Helper()
	require.NoError(t, shared.working())
	return copied(t, shared.workingFolder)
}

// atWork is a running, activated copy of it.
func atWork(t *testing.T) *node {
	t.Helper()
	n := serve(t, working(t))
	require.NoError(t, n.activate(t.Context()))
	return n
}

// again starts the instance after its process has ended, and opens its keystore.
func again(t *testing.T, n *node) *node {
	t.Helper()
	next := serve(t, n.dir)
	require.NoError(t, next.activate(t.Context()))
	return next
}

// exported takes the whole ledger out of the service and verifies the copy offline against the trust file that
// was pinned at genesis. It returns every entry: sequence numbers without a gap are part of what is verified.
func exported(t *testing.T, n *node) []*ledger.Entry {
	t.Helper()
	return exportedBy(t, n, shared.auditorToken, filepath.Join(shared.fresh, "trust.json"))
}

func exportedBy(t *testing.T, n *node, auditorToken, pinnedAt string) []*ledger.Entry {
	t.Helper()
	auditor, err := n.bearer(auditorToken)
	require.NoError(t, err)
	state := filepath.Join(filepath.Dir(n.dir), "seen")
	head, note, err := auditor.CheckLedger(t.Context(), n.trust, state)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "copy")
	followed, err := client.Followed(n.trust, state)
	require.NoError(t, err)
	keys, err := followed.Chain()
	require.NoError(t, err)
	require.NoError(t, ledger.ExportDir(t.Context(), dir, ledger.Export{Checkpoint: note, Keys: keys, Entries: auditor.EntrySource(head.Size)}))
	pinned, err := ledger.LoadTrustFile(pinnedAt)
	require.NoError(t, err)
	report, err := ledger.VerifyDir(t.Context(), dir, ledger.VerifyInput{Trust: pinned, Known: []ledger.Head{head}})
	require.NoError(t, err)
	require.True(t, report.Anchored && report.Signed)
	var entries []*ledger.Entry
	require.NoError(t, auditor.EntrySource(head.Size).ReadEntries(t.Context(), 0, head.Size, func(seq uint64, raw []byte) error {
		e, err := ledger.Decode(raw)
		if err == nil && e.Seq != seq {
			err = fmt.Errorf("entry %d stands at %d", e.Seq, seq)
		}
		entries = append(entries, e)
		return err
	}))
	require.NoError(t, os.RemoveAll(dir))
	return entries
}

// opens checks that a decision opens, and is proven to be in the ledger.
func opens(t *testing.T, n *node, auditor *client.Client, id string) {
	t.Helper()
	d, err := auditor.Decision(t.Context(), id)
	require.NoError(t, err, "decision %s", id)
	verifiers, err := n.trust.Verifiers()
	require.NoError(t, err)
	head, err := ledger.OpenHead([]byte(d.Checkpoint), n.trust.Origin, verifiers...)
	require.NoError(t, err)
	var proof tlog.RecordProof
	for _, text := range d.Inclusion {
		h, err := tlog.ParseHash(text)
		require.NoError(t, err)
		proof = append(proof, h)
	}
	require.NoError(t, ledger.CheckInclusion(proof, head, d.Seq, d.Entry), "decision %s", id)
	require.Equal(t, "deny", d.Outcome)
}
