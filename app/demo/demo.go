// Package demo makes a demonstration instance and tells its story through the public API: made-up people
// with key files of their own, real cryptography, a real ledger. Everything it makes is marked as
// development and lives in one folder.
package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"conclave/app/demo/cast"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// stateFile is written for scripts that want to go on where the story ends.
const stateFile = "demo.json"

// state is what demo.json holds.
type state struct {
	Note         string         `json:"note"`
	URL          string         `json:"url"`
	CA           string         `json:"ca"`
	AppToken     string         `json:"app_token"`
	AuditorToken string         `json:"auditor_token"`
	Key          string         `json:"key"`
	TrustFile    string         `json:"trust_file"`
	Custodians   []*cast.Member `json:"custodians"`
	Others       []*cast.Member `json:"others"`
	Told         bool           `json:"told"`            // the whole story ran
	Token        bool           `json:"token,omitempty"` // it has the chapter of the hardware security module
	MadeAt       time.Time      `json:"made_at"`
}

func (s *state) everybody() []*cast.Member { return slices.Concat(s.Custodians, s.Others) }

func (s *state) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", stateFile, err)
	}
	return ledger.WriteFileAtomic(filepath.Join(dir, stateFile), append(raw, '\n'), 0o600)
}

// loadState reads demo.json; nil when there is none.
func loadState(dir string) (*state, error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", stateFile, err)
	}
	s := &state{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("%s is damaged (%w); `conclave demo --reset` starts over", stateFile, err)
	}
	roles := map[string]*cast.Member{}
	for _, m := range troupe() {
		roles[m.ID] = m
	}
	for _, m := range s.everybody() {
		known := roles[m.ID]
		if known == nil {
			return nil, fmt.Errorf("%s names %q, whom the demo does not know; `conclave demo --reset` starts over", stateFile, m.ID)
		}
		m.Roles, m.Team, m.Site = known.Roles, known.Team, known.Site
	}
	return s, nil
}

// demo is one run.
type demo struct {
	dir   string // of the demonstration
	data  string // of the instance: dir/instance
	out   io.Writer
	state *state
	cast.Cast
	step   int
	module string // SoftHSM's; "" where it is not there
}

// tell opens a chapter of the story.
func (d *demo) tell(title string) {
	d.step++
	fmt.Fprintf(d.out, "\n%2d. %s\n", d.step, title)
}

// say adds a line to the chapter.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "      "+format+"\n", args...)
}

// newState makes keys and genesis for a demonstration that begins.
func (d *demo) newState(now time.Time) (file []byte, signatures [][]byte, err error) {
	members := troupe()
	if err := cast.MakeKeys(filepath.Join(d.dir, "people"), members...); err != nil {
		return nil, nil, err
	}
	d.state = &state{Note: "Demonstration data: made-up people, development mode. Never use these keys for anything real.",
		Custodians: members[:5], Others: members[5:], MadeAt: now}
	return cast.GenesisFile(d.dir, stage(), members, now)
}

// meet lets the cast find the running service.
func (d *demo) meet() (err error) {
	d.Cast = cast.Cast{Members: d.state.everybody(), URL: d.state.URL, CA: d.state.CA, Seen: filepath.Join(d.dir, "seen"), Clock: clock.NewSystem()}
	d.Trust, err = ledger.LoadTrustFile(d.state.TrustFile)
	return err
}
