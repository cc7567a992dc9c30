package witness

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// What a witness says against a log.
var (
	// ErrAhead: the witness has seen a larger log, so this one was set back.
	ErrAhead = errors.New("the witness has seen a larger ledger than this one: the database was set back")
	// ErrRefused: the witness has seen another log with the same key.
	ErrRefused = errors.New("the witness has seen another ledger of this key: it was forked")
)

// ErrUnknownKey: the witness does not know the log key yet. It follows a handover that it is given as a checkpoint.
var ErrUnknownKey = errors.New("the witness does not know the key that signed the checkpoint")

// Prove gives the consistency proof between two sizes.
type Prove func(ctx context.Context, older, newer uint64) (tlog.TreeProof, error)

// Client asks one witness.
type Client struct {
	Key  *ledger.WitnessKey
	URL  string // submission prefix
	http *http.Client
}

// NewClient asks the witness with a key at a URL.
func NewClient(key *ledger.WitnessKey, url string, config *tls.Config) *Client {
	return &Client{Key: key, URL: strings.TrimSuffix(url, "/"), http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: config, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Submit has the witness sign a checkpoint of a size. last is the size that it is thought to have signed last. It
// returns the checkpoint with the cosignature. [ErrAhead] and [ErrRefused] are what a witness is for.
func (c *Client) Submit(ctx context.Context, checkpoint []byte, size, last uint64, prove Prove) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		var proof tlog.TreeProof
		var err error
		if last > 0 && last < size {
			if proof, err = prove(ctx, last, size); err != nil {
				return nil, err
			}
		}
		status, kind, body, err := c.post(ctx, last, proof, checkpoint)
		if err != nil {
			return nil, err
		}
		switch status {
		case http.StatusOK:
			return ledger.AddCosignature(checkpoint, body, c.Key)
		case http.StatusForbidden:
			return nil, fmt.Errorf("witness %s: %w: %.300s", c.Key.Name(), ErrUnknownKey, bytes.TrimSpace(body))
		case http.StatusUnprocessableEntity:
			return nil, fmt.Errorf("witness %s, of %d entries after %d: %w", c.Key.Name(), size, last, ErrRefused)
		case http.StatusConflict:
			seen, err := strconv.ParseUint(strings.TrimSuffix(string(body), "\n"), 10, 53)
			switch {
			case kind != sizeType || err != nil:
				return nil, fmt.Errorf("witness %s answered %d without a size", c.Key.Name(), status)
			case seen > size:
				return nil, fmt.Errorf("witness %s has seen %d entries, here are %d: %w", c.Key.Name(), seen, size, ErrAhead)
			case seen == last:
				return nil, fmt.Errorf("witness %s, at %d entries: %w", c.Key.Name(), size, ErrRefused)
			case attempt > 0:
				return nil, fmt.Errorf("witness %s says another size each time", c.Key.Name())
			}
			last = seen
		default:
			return nil, fmt.Errorf("witness %s answered %d: %.200s", c.Key.Name(), status, body)
		}
	}
}

func (c *Client) post(ctx context.Context, last uint64, proof tlog.TreeProof, checkpoint []byte) (status int, kind string, answer []byte, err error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", last)
	for _, h := range proof {
		body.WriteString(h.String() + "\n")
	}
	body.WriteString("\n")
	body.Write(checkpoint)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+addCheckpoint, &body)
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	res, err := c.http.Do(req)
	if err != nil {
		return 0, "", nil, fmt.Errorf("asking witness %s: %w", c.Key.Name(), err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return 0, "", nil, fmt.Errorf("reading the answer of witness %s: %w", c.Key.Name(), err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), answer, nil
}
