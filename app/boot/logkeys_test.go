package boot_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/config"
	"conclave/ceremony"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// A log key that was made for a rotation which did not come about is removed, once no rotation is executed anywhere: until
// then it may come into force, whoever made it. What a killed process had not written whole is removed at the start.
func TestLogKeysThatDidNotComeIntoForceAreRemoved(t *testing.T) {
	drivers(t, func(t *testing.T, cfg *config.Config, _ beginning) {
		r := started(t, cfg)
		before, err := os.ReadFile(cfg.LogKeyFile())
		require.NoError(t, err)
		now := time.Now().UTC()
		rotation := func(state ceremony.State) {
			_, err := r.Custodian.Store().Control(t.Context(), func(tx *store.Tx) error {
				if err := tx.Put(ceremony.Kind, "01ROTATION", ceremony.Ceremony{ID: "01ROTATION", Operation: ledger.RotationType, State: state, EffectID: "e-1",
					Executor: "node-9/b-1", ExecutingAt: &now, ProposedAt: now}); err != nil {
					return err
				}
				return tx.Append(ledger.Entry{Type: "ceremony.execute", Actor: identity.Principal{Kind: identity.Node, ID: "node-9"}, Outcome: ledger.Done,
					Target: ledger.Target{Type: "logkey", ID: "log_key"}})
			})
			require.NoError(t, err)
		}
		rotation(ceremony.Executing)
		candidate := cfg.LogKeyFile() + ".next-0123456789abcdef"
		_, err = ledger.GenerateLogKey(candidate, r.Custodian.Store().LogKeys().Origin())
		require.NoError(t, err)
		stop(t, r)
		halves := []string{cfg.LogKeyFile() + ".new", filepath.Join(cfg.KeyDir(), ".log.key.next-0123456789abcdef.1234")}
		for _, path := range halves {
			require.NoError(t, os.WriteFile(path, []byte("PRIVATE+KEY+"), 0o600))
		}

		r = started(t, cfg) // which looks after the log key before it serves
		require.FileExists(t, candidate)
		for _, path := range halves {
			require.NoFileExists(t, path)
		}
		rotation(ceremony.Failed)
		require.Eventually(t, func() bool {
			_, err := os.Stat(candidate)
			return os.IsNotExist(err)
		}, time.Minute, 20*time.Millisecond)
		after, err := os.ReadFile(cfg.LogKeyFile())
		require.NoError(t, err)
		require.Equal(t, before, after, "the key in force stands")
		require.True(t, recorded(t, r, "ceremony.execute"))
	})
}
