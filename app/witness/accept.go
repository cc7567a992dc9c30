package witness

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/ledger"
)

// Acceptance is a recovery that the witness's operator judged and accepted. The witness goes on with the recovered
// ledger under the same key; both heads stay on record, and are shown to whoever asks.
type Acceptance struct {
	Recovery ledger.Recovery `json:"recovery"`
	At       time.Time       `json:"at"`
	Left     string          `json:"left"`  // checkpoint seen last of the ledger that was left behind, a signed note
	Taken    string          `json:"taken"` // checkpoint of the recovered ledger that stands in its place, a signed note
}

const (
	acceptedFile  = "recoveries"
	maxAcceptance = 1 << 20
)

// What stands against accepting a recovery.
var (
	// ErrNothingLost: the recovered ledger continues what this witness saw, so that there is nothing to accept.
	ErrNothingLost = errors.New("this witness has seen nothing that the recovery lost: it goes on by itself")
	// ErrMoved: the witness saw more while the recovery was judged: the ledger that was left behind still runs.
	ErrMoved = errors.New("the witness saw another checkpoint meanwhile: judge the recovery anew, and see that the old instance is down")
)

// State is what a witness keeps in its directory of one log.
type State struct {
	dir   string
	trust *ledger.TrustFile // as it was pinned
	keys  *ledger.KeyChain  // and what was shown to succeed them
	high  *ledger.HighWater
}

// OpenState is the state of the witness of a trust file's log, running or not.
func OpenState(trust *ledger.TrustFile, dir string) (*State, error) {
	s := &State{dir: dir, trust: trust}
	return s, s.reload()
}

// handoversFile keeps the handovers of the log key that were witnessed. They prove themselves by the pinned key.
func (s *State) handoversFile() string { return filepath.Join(s.dir, "handovers") }

// reload reads who succeeded the pinned log key.
func (s *State) reload() error {
	keys, err := s.trust.Chain()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(s.handoversFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading who succeeded the log key: %w", err)
	}
	if err == nil {
		var handovers []string
		if handovers, err = ledger.ParseHandovers(data); err == nil {
			keys, err = keys.Follow(handovers...)
		}
		if err != nil {
			return fmt.Errorf("reading who succeeded the log key: %w", err)
		}
	}
	s.keys, s.high = keys, ledger.NewHighWater(filepath.Join(s.dir, "checkpoint"), keys.Origin(), keys.Verifiers()...)
	return nil
}

// follow takes the key over that a witnessed checkpoint hands the log over to.
func (s *State) follow(handover []byte) error {
	keys, err := s.keys.Follow(append(s.keys.Handovers(), string(handover))...)
	if err != nil {
		return err
	}
	return s.keep(keys)
}

func (s *State) keep(keys *ledger.KeyChain) error {
	data, err := ledger.EncodeHandovers(keys.Handovers())
	if err != nil {
		return err
	}
	if err := ledger.WriteFileAtomic(s.handoversFile(), data, 0o600); err != nil {
		return fmt.Errorf("remembering who succeeded the log key: %w", err)
	}
	return s.reload()
}

// Highest is the head seen last; false before the first.
func (s *State) Highest() (ledger.Head, bool, error) { return s.high.Highest() }

// Accepted are the recoveries that were accepted, oldest first.
func (s *State) Accepted() ([]Acceptance, error) {
	f, err := os.Open(filepath.Join(s.dir, acceptedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return []Acceptance{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening accepted recoveries: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAcceptance+1))
	if err != nil || len(data) > maxAcceptance {
		return nil, errors.Join(errors.New("reading accepted recoveries"), err)
	}
	var out []Acceptance
	if err := json.Unmarshal(data, &out, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading accepted recoveries %s: %w", f.Name(), err)
	}
	return out, nil
}

// Accept has the witness go on with a recovered ledger at a checkpoint of it. The caller has verified that ledger, found
// that it does not contain the head seen last, lost, and judged the recovery that says so. What was seen before is
// recorded first, so that no end in between forgets it; doing it again then finishes it. From then on the ledger that was
// left behind is refused.
func (s *State) Accept(r ledger.Recovery, lost ledger.Head, checkpoint []byte, now time.Time) error {
	seen, _, err := s.Highest()
	switch {
	case err != nil:
		return err
	case seen != lost:
		return ErrMoved
	case !r.Explains(lost):
		return ErrNothingLost
	}
	left, err := os.ReadFile(s.high.Path())
	if err != nil {
		return fmt.Errorf("accepting recovery: %w", err)
	}
	accepted, err := s.Accepted()
	if err != nil {
		return err
	}
	accepted = append(slices.DeleteFunc(accepted, func(a Acceptance) bool { return a.Recovery.ID == r.ID && a.Left == string(left) }),
		Acceptance{Recovery: r, At: now.UTC().Truncate(time.Second), Left: string(left), Taken: string(checkpoint)})
	data, err := json.Marshal(accepted, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("accepting recovery: %w", err)
	}
	if err := ledger.WriteFileAtomic(filepath.Join(s.dir, acceptedFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("accepting recovery: %w", err)
	}
	// Log keys that came into force in what was lost are those of the ledger that was left behind.
	keys, err := s.keys.Before(r.Seq)
	if err != nil {
		return err
	}
	if err := s.keep(keys); err != nil {
		return err
	}
	_, err = s.high.Replace(checkpoint)
	return err
}
