package boot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"conclave/app/config"
	"conclave/app/httpapi"
	"conclave/app/witness"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/timestamp"
)

const (
	witnessEvery  = 10 * time.Second
	witnessLease  = "witness"
	witnessPeriod = 5 * time.Minute // between two cosignatures of one witness
	stampPeriod   = time.Hour       // between two time-stamps
	maxWitnesses  = 16
	maxWitnessTxt = 64 << 10
)

// watchers are the machines outside that say what they saw of the ledger.
type watchers struct {
	clients []*witness.Client
	stamper *timestamp.Authority

	turn     sync.Mutex       // of one run: held from its beginning to its end
	problems map[string]error // what failed last and is not due again, by witness and for the time-stamp; the turn's own

	mu       sync.Mutex
	due      map[string]time.Duration // monotonic, by witness and for the time-stamp
	accused  map[string]string        // refusal recorded last, by witness
	refusals map[string]uint64
}

const dueStamp = "time-stamp"

// newWatchers reads the witness file and the certificates of the time-stamping authority.
func (s *service) newWatchers() (*watchers, error) {
	w := &watchers{problems: map[string]error{}, due: map[string]time.Duration{}, accused: map[string]string{}, refusals: map[string]uint64{}}
	c := s.cfg.Witness
	if c.File != "" {
		trust, err := clientTLS(c.CA, "", "")
		if err != nil {
			return nil, config.Unusable("witness.ca", err)
		}
		if w.clients, err = readWitnesses(c.File, trust); err != nil {
			return nil, config.Unusable("witness.file", fmt.Errorf("%s: %w", c.File, err))
		}
	}
	if c.TimestampURL == "" {
		return w, nil
	}
	pem, err := os.ReadFile(c.TimestampRoots)
	if err != nil {
		return nil, config.Unusable("witness.timestamp_roots", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, config.Unusable("witness.timestamp_roots", fmt.Errorf("%s holds no PEM certificate", c.TimestampRoots))
	}
	trust, err := clientTLS(c.CA, "", "")
	if err != nil {
		return nil, config.Unusable("witness.ca", err)
	}
	w.stamper = timestamp.NewAuthority(c.TimestampURL, roots, trust)
	return w, nil
}

// readWitnesses reads lines of a verifier key and a URL; those that are empty or begin with # are passed over.
func readWitnesses(path string, trust *tls.Config) ([]*witness.Client, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxWitnessTxt {
		return nil, fmt.Errorf("%d bytes, at most %d allowed", len(raw), maxWitnessTxt)
	}
	var out []*witness.Client
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 || len(out) == maxWitnesses || !strings.HasPrefix(fields[1], "https://") && !strings.HasPrefix(fields[1], "http://127.0.0.1:") {
			return nil, fmt.Errorf("line %d: allowed: a verifier key and an https URL (http to 127.0.0.1 only), %d lines at most", n, maxWitnesses)
		}
		key, err := ledger.ParseWitnessKey(fields[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, witness.NewClient(key, fields[1], trust))
	}
	return out, lines.Err()
}

// haveWitnessed submits the newest checkpoint to each witness, and has it time-stamped, where that is due. One replica
// does so at a time.
func (s *service) haveWitnessed(ctx context.Context) error {
	if len(s.watchers.clients) == 0 && s.watchers.stamper == nil {
		return nil
	}
	s.watchers.turn.Lock()
	defer s.watchers.turn.Unlock()
	ours, err := s.store.Lease(ctx, witnessLease, s.cfg.Node.ID, time.Minute)
	if err != nil || !ours {
		return err
	}
	view, note, _ := s.store.Published()
	size := view.Head().Size
	var errs []error
	for _, c := range s.watchers.clients {
		if key := c.Key.String(); s.watchers.take(key, witnessPeriod, s.clock.Elapsed()) {
			s.watchers.problems[key] = s.submit(ctx, c, note, size)
		}
		errs = append(errs, s.watchers.problems[c.Key.String()])
	}
	if s.watchers.stamper != nil && s.watchers.take(dueStamp, stampPeriod, s.clock.Elapsed()) {
		token, _, err := s.watchers.stamper.Stamp(ctx, note)
		if err == nil {
			err = s.store.SaveTimestamp(ctx, size, note, token)
		}
		if err != nil {
			s.watchers.retry(dueStamp, s.clock.Elapsed())
		}
		s.watchers.problems[dueStamp] = err
	}
	return errors.Join(append(errs, s.watchers.problems[dueStamp])...)
}

// take says whether something is due, and notes that it is done.
func (w *watchers) take(what string, period, now time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, seen := w.due[what]; seen && now < at {
		return false
	}
	w.due[what] = now + period
	return true
}

// retry makes something due again in a minute.
func (w *watchers) retry(what string, now time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[what] = now + time.Minute
}

// submit has one witness sign a checkpoint. What it says against the ledger is recorded.
func (s *service) submit(ctx context.Context, c *witness.Client, note []byte, size uint64) error {
	key := c.Key.String()
	last, _, err := s.store.CosignedBy(ctx, key, ledger.MaxInteger)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	signed, err := c.Submit(ctx, note, size, min(last, size), s.store.Consistency)
	if errors.Is(err, witness.ErrUnknownKey) {
		signed, err = s.submitHandovers(ctx, c, note, size, last)
	}
	switch {
	case errors.Is(err, witness.ErrAhead), errors.Is(err, witness.ErrRefused):
		return errors.Join(err, s.recordAccusation(ctx, c.Key.Name(), key, err))
	case err != nil:
		s.watchers.retry(key, s.clock.Elapsed())
		return err
	}
	s.watchers.settled(key)
	return s.store.SaveCosigned(ctx, size, key, signed)
}

// settled notes that a witness cosigns again, so that what it refuses next is recorded anew.
func (w *watchers) settled(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.accused, key)
}

// submitHandovers has a witness follow the succession of the log key, and then sign the checkpoint. One that knows other keys of
// this ledger than it shows, as after a restore to before a rotation, refuses it: [witness.ErrRefused].
func (s *service) submitHandovers(ctx context.Context, c *witness.Client, note []byte, size, last uint64) ([]byte, error) {
	keys := s.store.LogKeys()
	for _, handover := range keys.Handovers() {
		head, err := keys.Open([]byte(handover))
		if err != nil {
			return nil, err
		}
		if head.Size < last {
			continue
		}
		if _, err := c.Submit(ctx, []byte(handover), head.Size, min(last, head.Size), s.store.Consistency); err != nil {
			return nil, err
		}
		last = head.Size
	}
	signed, err := c.Submit(ctx, note, size, min(last, size), s.store.Consistency)
	if errors.Is(err, witness.ErrUnknownKey) {
		err = fmt.Errorf("%w: %w", witness.ErrRefused, err)
	}
	return signed, err
}

// recordAccusation makes a witness's refusal an entry, once as long as it says the same of the same process.
func (s *service) recordAccusation(ctx context.Context, name, key string, reason error) error {
	code := "forked"
	if errors.Is(reason, witness.ErrAhead) {
		code = "rolled_back"
	}
	w := s.watchers
	w.mu.Lock()
	w.refusals[name]++
	again := w.accused[key] == code
	w.accused[key] = code
	w.mu.Unlock()
	if again {
		return nil
	}
	s.log.Error("a witness says that this ledger is not the one it saw", "witness", name, "reason", reason,
		"what_to_do", "after a restore the witness's operator judges that: conclave witness accept-recovery; otherwise see The ledger itself was edited in docs/operations.md")
	_, err := s.store.Control(ctx, func(tx *store.Tx) error {
		return tx.Append(ledger.Entry{Type: "witness.refused", Actor: identity.Principal{Kind: identity.Node, ID: s.cfg.Node.ID},
			Target: ledger.Target{Type: "witness", ID: ledger.CleanText(name)}, Outcome: ledger.Failed, Reason: code, Policy: s.door.Mark(),
			Detail: custodian.Detail(map[string]any{"problem": reason.Error()})})
	})
	return err
}

// witnessStates is what each witness saw last, for metrics.
func (s *service) witnessStates(ctx context.Context) []httpapi.WitnessState {
	var out []httpapi.WitnessState
	for _, c := range s.watchers.clients {
		state := httpapi.WitnessState{Witness: c.Key.Name()}
		if size, note, err := s.store.CosignedBy(ctx, c.Key.String(), ledger.MaxInteger); err == nil {
			state.Size = size
			if found, err := ledger.Cosignatures(note, []*ledger.WitnessKey{c.Key}); err == nil && len(found) > 0 {
				state.At = found[0].At
			}
		}
		s.watchers.mu.Lock()
		state.Refusals = s.watchers.refusals[c.Key.Name()]
		s.watchers.mu.Unlock()
		out = append(out, state)
	}
	return out
}
