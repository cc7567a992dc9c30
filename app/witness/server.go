// Package witness is the other side of the ledger's honesty: a small server on a machine that the service's owner does
// not run, which remembers the highest checkpoint that it saw, and signs a newer one only if it continues that one. It
// speaks C2SP tlog-witness. With its signatures a log that shows different people different histories, or an older one,
// cannot go unnoticed.
package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

const (
	addCheckpoint = "/add-checkpoint"
	maxRequest    = 128 << 10
	maxProofLines = 63 // C2SP tlog-witness
	sizeType      = "text/x.tlog.size"
)

// Server witnesses one log.
type Server struct {
	trust   *ledger.TrustFile // as it was pinned
	witness *ledger.Witness
	state   *State
	dir     string
	clock   clock.Clock
	log     *slog.Logger
	mu      sync.Mutex // one request at a time: what was seen last is compared and moved on as one step
}

// New witnesses the log of a trust file. dir keeps what was seen, and what was refused.
func New(trust *ledger.TrustFile, witness *ledger.Witness, dir string, clk clock.Clock, log *slog.Logger) (*Server, error) {
	state, err := OpenState(trust, dir)
	if err != nil {
		return nil, err
	}
	s := &Server{trust: trust, witness: witness, state: state, dir: dir, clock: clk, log: log}
	accepted, err := state.Accepted()
	if err != nil {
		return nil, err
	}
	for _, a := range accepted {
		s.log.Warn("goes on with a ledger that was recovered, as accepted here", "recovery", a.Recovery.ID, "at_entry", a.Recovery.Seq, "accepted_at", a.At)
	}
	if trust.Least == "" {
		return s, nil
	}
	// What the trust file pins was seen, so nothing below it or beside it is ever signed.
	if _, seen, err := state.Highest(); err != nil || seen {
		return s, err
	}
	_, err = state.high.Advance(context.Background(), []byte(trust.Least), nil)
	return s, err
}

// Handler serves POST /add-checkpoint, GET / with the witness's verifier key, and GET /recoveries with those that were
// accepted here: whoever relies on the witness sees where it went on with a ledger that does not continue the one before.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+addCheckpoint, s.add)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, s.witness.Key) })
	mux.HandleFunc("GET /recoveries", s.recoveries)
	return mux
}

func (s *Server) recoveries(w http.ResponseWriter, _ *http.Request) {
	accepted, err := s.state.Accepted()
	if err != nil {
		s.log.Error("accepted recoveries cannot be told", "error", err)
		http.Error(w, "the witness cannot read what it accepted", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.MarshalWrite(w, accepted, jsontext.WithIndent("  ")) // a reader that went away is no matter
}

// refusal is an answer other than a cosignature.
type refusal struct {
	status int
	words  string
	size   *uint64 // of the checkpoint seen last
}

func (r *refusal) Error() string { return r.words }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, words: fmt.Sprintf(format, args...)}
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) {
	line, err := s.submitted(r)
	var no *refusal
	switch {
	case errors.As(err, &no) && no.size != nil:
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(no.status)
		fmt.Fprintf(w, "%d\n", *no.size)
	case errors.As(err, &no):
		http.Error(w, no.words, no.status)
	case err != nil:
		s.log.Error("a checkpoint could not be witnessed", "error", err)
		http.Error(w, "the witness cannot keep what it saw", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(line)
	}
}

func (s *Server) submitted(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil || len(body) > maxRequest {
		return nil, refuse(http.StatusBadRequest, "the request is cut or over %d bytes", maxRequest)
	}
	old, proof, checkpoint, err := parseRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%s", err)
	}
	if origin, _, _ := bytes.Cut(checkpoint, []byte("\n")); string(origin) != s.trust.Origin {
		return nil, refuse(http.StatusNotFound, "this witness does not know the log %.80q", origin)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state.reload(); err != nil { // a recovery may have been accepted meanwhile
		return nil, err
	}
	head, err := s.state.keys.Open(checkpoint)
	switch {
	case errors.Is(err, ledger.ErrLogKeyReplaced): // or a forgery in its name: nothing is kept of it
		s.log.Warn("a checkpoint in the name of a log key that was replaced before was submitted", "what_to_do", advice)
		return nil, refuse(http.StatusForbidden, "signed by a log key that was replaced before; %s", advice)
	case errors.Is(err, ledger.ErrSignature):
		return nil, refuse(http.StatusForbidden, "not signed by a key of the log")
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "%s", err)
	case old > head.Size:
		return nil, refuse(http.StatusBadRequest, "old size %d is over the checkpoint's %d", old, head.Size)
	}
	return s.judge(r.Context(), old, proof, checkpoint, head)
}

// judge holds a checkpoint, signed by the log, to what was seen before, remembers it, and signs it.
func (s *Server) judge(ctx context.Context, old uint64, proof tlog.TreeProof, checkpoint []byte, head ledger.Head) ([]byte, error) {
	seen, have, err := s.state.Highest()
	if err != nil {
		return nil, err
	}
	if head.Size < seen.Size { // an older checkpoint is no lie by itself; the log learns what was seen, and must explain
		s.log.Warn("a checkpoint older than one seen before was submitted: the ledger was set back, or restored", "entries", head.Size, "seen_before", seen.Size, "what_to_do", advice)
	}
	if !have && old != 0 || have && old != seen.Size {
		return nil, &refusal{status: http.StatusConflict, words: "another size was seen last", size: &seen.Size}
	}
	_, err = s.state.high.Advance(ctx, checkpoint, func(context.Context, uint64, uint64) (tlog.TreeProof, error) { return proof, nil })
	if err != nil { // a recovery accepted in between is no contradiction: the log asks again
		if now, _, unread := s.state.Highest(); unread == nil && now != seen {
			return nil, &refusal{status: http.StatusConflict, words: "another size was seen last", size: &now.Size}
		}
	}
	switch {
	case errors.Is(err, ledger.ErrFork) && head.Size == seen.Size:
		s.accuse(checkpoint, head, seen)
		return nil, &refusal{status: http.StatusConflict, words: "another root was seen at this size", size: &seen.Size}
	case errors.Is(err, ledger.ErrFork), errors.Is(err, ledger.ErrRollback):
		s.accuse(checkpoint, head, seen)
		return nil, refuse(http.StatusUnprocessableEntity, "the checkpoint is not shown to continue the one of %d entries; %s", seen.Size, advice)
	case err != nil:
		return nil, err
	}
	if !have || head.Size > seen.Size {
		s.log.Info("witnessed", "entries", head.Size, "before", seen.Size)
	}
	if head.Next != "" && head.Next != s.state.keys.Newest() {
		if err := s.state.follow(checkpoint); err != nil {
			return nil, err
		}
		s.log.Info("the log key was replaced", "key", head.Next)
	}
	return s.witness.Cosign(checkpoint, s.clock.Now())
}

// advice is what the operator of a witness does about a log that does not continue what was seen.
const advice = "if the instance was restored from a backup, the witness's operator judges that with: conclave witness accept-recovery"

// accuse keeps a checkpoint that the log signed against itself: two signed checkpoints that contradict each other are
// proof of what it did.
func (s *Server) accuse(checkpoint []byte, head, seen ledger.Head) {
	name := filepath.Join(s.dir, fmt.Sprintf("refused-%d", head.Size))
	if err := ledger.WriteFileAtomic(name, checkpoint, 0o600); err != nil {
		s.log.Error("a checkpoint that contradicts one seen before could not be kept", "file", name, "error", err)
	}
	s.log.Error("the log signed a checkpoint that contradicts one seen before, or comes with no proof that it does not", "entries", head.Size, "seen_before", seen.Size, "kept_in", name, "what_to_do", advice)
}

// parseRequest reads the body of add-checkpoint.
func parseRequest(body []byte) (old uint64, proof tlog.TreeProof, checkpoint []byte, err error) {
	head, checkpoint, found := bytes.Cut(body, []byte("\n\n"))
	if !found {
		return 0, nil, nil, errors.New("no empty line before the checkpoint")
	}
	first, rest, more := strings.Cut(string(head), "\n")
	digits, found := strings.CutPrefix(first, "old ")
	if old, err = strconv.ParseUint(digits, 10, 53); !found || err != nil || strconv.FormatUint(old, 10) != digits {
		return 0, nil, nil, errors.New("the first line is not the old size")
	}
	for line := ""; more; {
		line, rest, more = strings.Cut(rest, "\n")
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize || len(proof) == maxProofLines {
			return 0, nil, nil, fmt.Errorf("a line of the proof is no hash, or there are more than %d", maxProofLines)
		}
		proof = append(proof, tlog.Hash(raw))
	}
	if old == 0 && len(proof) > 0 {
		return 0, nil, nil, errors.New("a proof from the empty log")
	}
	return old, proof, checkpoint, nil
}
