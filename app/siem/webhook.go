package siem

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
)

// NoticeType is the DSSE payload type of a notice.
const NoticeType = "application/vnd.conclave.notice+json"

// Webhook posts what somebody must look at, one notice a post, signed by the node: changes of verdicts, what the
// monitor's rules found, and what endangers custody itself.
type Webhook struct {
	url    string
	src    Source
	signer dsse.Signer
	client *http.Client
}

// NewWebhook posts to a URL.
func NewWebhook(url string, config *tls.Config, signer dsse.Signer, src Source) *Webhook {
	return &Webhook{url: url, src: src, signer: signer, client: httpClient(config)}
}

// Name implements [Target].
func (*Webhook) Name() string { return "webhook" }

// Close implements [Target].
func (h *Webhook) Close() error {
	h.client.CloseIdleConnections()
	return nil
}

// noticed says whether somebody is told of an entry.
func noticed(e *ledger.Entry) bool {
	return strings.HasPrefix(e.Type, "monitor.") && e.Type != "monitor.run" || slices.Contains(alarms(), e.Type)
}

// Send implements [Target]: entries that are no matter for a notice count as taken.
func (h *Webhook) Send(ctx context.Context, records []Record) error {
	for i := range records {
		r := &records[i]
		if r.Entry != nil && !noticed(r.Entry) {
			continue
		}
		if err := h.post(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (h *Webhook) post(ctx context.Context, r *Record) error {
	notice := map[string]any{"v": 1, "instance": h.src.Instance, "mode": h.src.Mode, "node": h.src.Node, "at": r.at()}
	if r.Entry != nil {
		leaf := ledger.LeafHash(r.Raw)
		notice["seq"], notice["leaf"], notice["entry"] = r.Entry.Seq, hex.EncodeToString(leaf[:]), jsontext.Value(r.Raw)
	} else {
		notice["seq"], notice["gap"] = r.Seq, r.Gap
	}
	raw, err := json.Marshal(notice, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encoding a notice: %w", err)
	}
	payload := jsontext.Value(raw)
	if err := payload.Canonicalize(); err != nil {
		return fmt.Errorf("encoding a notice: %w", err)
	}
	envelope, err := dsse.Sign(h.signer, NoticeType, payload)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(envelope))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/vnd.dsse+json")
	res, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s", res.Status)
	}
	return nil
}
