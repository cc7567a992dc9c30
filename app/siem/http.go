package siem

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// HTTP posts batches: OCSF events as JSON lines, or OpenTelemetry logs (OTLP/HTTP with JSON). Any answer but 2xx means
// that nothing was taken, and the same batch is posted again.
type HTTP struct {
	name, url, tokenFile string
	src                  Source
	client               *http.Client
	encode               func(records []Record, src Source) (body []byte, contentType string, err error)
	taken                func(body []byte) error
}

// NewHTTP posts OCSF events as JSON lines. tokenFile holds a bearer token, "" for none.
func NewHTTP(url, tokenFile string, config *tls.Config, src Source) *HTTP {
	return &HTTP{name: "http", url: url, tokenFile: tokenFile, src: src, client: httpClient(config), encode: lines, taken: func([]byte) error { return nil }}
}

// NewOTLP posts OpenTelemetry logs to a collector's URL, which ends in /v1/logs.
func NewOTLP(url, tokenFile string, config *tls.Config, src Source) *HTTP {
	return &HTTP{name: "otlp", url: url, tokenFile: tokenFile, src: src, client: httpClient(config), encode: otlp, taken: otlpTaken}
}

func httpClient(config *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
		// Evidence goes where it was configured to go, and the token with it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Name implements [Target].
func (h *HTTP) Name() string { return h.name }

// Close implements [Target].
func (h *HTTP) Close() error {
	h.client.CloseIdleConnections()
	return nil
}

// maxAnswer is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Send implements [Target].
func (h *HTTP) Send(ctx context.Context, records []Record) error {
	body, contentType, err := h.encode(records, h.src)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	if h.tokenFile != "" {
		token, err := os.ReadFile(h.tokenFile)
		if err != nil {
			return fmt.Errorf("reading the token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	res, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s", res.Status)
	}
	return h.taken(answer)
}

func lines(records []Record, src Source) ([]byte, string, error) {
	var body []byte
	for i := range records {
		line, err := records[i].line(src)
		if err != nil {
			return nil, "", err
		}
		body = append(body, line...)
	}
	return body, "application/x-ndjson", nil
}

// otlp writes records as an ExportLogsServiceRequest in the JSON mapping of OTLP 1.x: 64-bit numbers as strings.
func otlp(records []Record, src Source) ([]byte, string, error) {
	attribute := func(name, value string) map[string]any {
		return map[string]any{"key": name, "value": map[string]any{"stringValue": value}}
	}
	var list []map[string]any
	for i := range records {
		r := &records[i]
		level := r.severity()
		out := map[string]any{"timeUnixNano": fmt.Sprint(r.at().UnixNano()), "severityNumber": []int{9, 13, 21}[level], "severityText": []string{"INFO", "WARN", "FATAL"}[level]}
		if e := r.Entry; e != nil {
			out["body"] = map[string]any{"stringValue": string(r.Raw)}
			out["attributes"] = []any{attribute("event.name", e.Type), attribute("conclave.seq", fmt.Sprint(e.Seq)), attribute("conclave.actor", e.Actor.String()),
				attribute("conclave.target", e.Target.Type+":"+e.Target.ID), attribute("conclave.outcome", string(e.Outcome)), attribute("conclave.reason", e.Reason)}
		} else {
			out["body"], out["attributes"] = map[string]any{"stringValue": r.Gap}, []any{attribute("event.name", "export.gap"), attribute("conclave.seq", fmt.Sprint(r.Seq))}
		}
		list = append(list, out)
	}
	body, err := json.Marshal(map[string]any{"resourceLogs": []any{map[string]any{
		"resource": map[string]any{"attributes": []any{attribute("service.name", "conclave"), attribute("service.instance.id", src.Node),
			attribute("service.version", src.Version), attribute("conclave.instance", src.Instance), attribute("deployment.environment.name", src.Mode)}},
		"scopeLogs": []any{map[string]any{"scope": map[string]any{"name": "conclave.ledger"}, "logRecords": list}},
	}}}, json.Deterministic(true))
	return body, "application/json", err
}

// otlpTaken finds out whether a collector refused a part: then the whole is sent again.
func otlpTaken(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var answer struct {
		Partial struct {
			Rejected any    `json:"rejectedLogRecords"` // a 64-bit number: a string in the JSON mapping
			Message  string `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if n := fmt.Sprint(answer.Partial.Rejected); answer.Partial.Rejected != nil && n != "0" {
		return fmt.Errorf("the collector refused %s records: %.200s", n, answer.Partial.Message)
	}
	return nil
}
