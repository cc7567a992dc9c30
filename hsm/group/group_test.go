package group_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/group"
	"conclave/hsm/hsmtest"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
)

// pair is a group of two members, with what opens each.
type pair struct {
	*group.Keystore
	mu      sync.Mutex
	members []group.Member
	secrets map[string]*secret.Bytes
}

func (p *pair) list() []group.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]group.Member(nil), p.members...)
}

func (p *pair) change(member string, do func(*group.Member)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.members {
		if p.members[i].ID == member {
			do(&p.members[i])
		}
	}
}

func (p *pair) driver(member string) hsm.Member {
	for _, m := range p.list() {
		if m.ID == member {
			return m.Driver
		}
	}
	return nil
}

// newPair makes a group of these members, who know each other.
func newPair(t testing.TB, id string, drivers map[string]hsm.Member, secrets map[string]*secret.Bytes, order ...string) *pair {
	t.Helper()
	p := &pair{secrets: secrets}
	for _, name := range order {
		require.NoError(t, drivers[name].Activate(t.Context(), secrets[name]))
		own, err := drivers[name].Introduce(t.Context(), id)
		require.NoError(t, err)
		p.members = append(p.members, group.Member{ID: name, Driver: drivers[name], Serving: true, Transport: own})
	}
	for _, m := range p.members {
		for _, peer := range p.members {
			if peer.ID != m.ID {
				require.NoError(t, m.Driver.Trust(t.Context(), id, hsm.Peer{Member: peer.ID, Public: peer.Transport.Public}))
			}
		}
	}
	var err error
	p.Keystore, err = group.New(group.Config{ID: id, Members: p.list})
	require.NoError(t, err)
	return p
}

// softPair is a pair of software keystores.
func softPair(t testing.TB, id string) *pair {
	t.Helper()
	drivers, secrets := map[string]hsm.Member{}, map[string]*secret.Bytes{}
	for _, name := range []string{"a", "b"} {
		activation, verifier, err := soft.NewActivation()
		require.NoError(t, err)
		t.Cleanup(activation.Wipe)
		d, err := soft.New(soft.Config{ID: id + "-" + name, Verifier: verifier})
		require.NoError(t, err)
		drivers[name], secrets[name] = d, activation
	}
	return newPair(t, id, drivers, secrets, "a", "b")
}

// opened lets the conformance suite open a group as it opens a keystore: both members at once, by one secret.
type opened struct{ *pair }

func (o opened) Activate(ctx context.Context, activation *secret.Bytes) error {
	var errs []error
	for _, m := range o.list() {
		errs = append(errs, m.Driver.Activate(ctx, activation))
	}
	return errors.Join(errs...)
}

// suite is what opens the members of one group in every subtest, with their transport pairs, which take their time to make.
type suite struct {
	activation *secret.Bytes
	verifier   []byte
	transports map[string]hsm.Material
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	t.Cleanup(activation.Wipe)
	return &suite{activation, verifier, map[string]hsm.Material{}}
}

func (s *suite) group(t *testing.T, id string) opened {
	t.Helper()
	p := &pair{}
	for _, name := range []string{id + "-a", id + "-b"} {
		d, err := soft.New(soft.Config{ID: name, Verifier: s.verifier})
		require.NoError(t, err)
		if _, made := s.transports[name]; !made {
			require.NoError(t, d.Activate(t.Context(), s.activation))
			s.transports[name], err = d.Introduce(t.Context(), id)
			require.NoError(t, err)
			require.NoError(t, d.Deactivate(t.Context()))
		}
		p.members = append(p.members, group.Member{ID: name, Driver: d, Serving: true, Transport: s.transports[name]})
	}
	var err error
	p.Keystore, err = group.New(group.Config{ID: id, Members: p.list})
	require.NoError(t, err)
	return opened{p}
}

// A group is a keystore like any other.
func TestConformance(t *testing.T) {
	one, two, wrong := newSuite(t), newSuite(t), newSuite(t)
	hsmtest.Run(t, func(t *testing.T) hsmtest.Fixture {
		return hsmtest.Fixture{Keystore: one.group(t, "one"), Activation: one.activation, WrongActivation: wrong.activation.Clone(), Other: two.group(t, "two"), OtherActivation: two.activation}
	})
}

func seals(t testing.TB, k hsm.Keystore, m hsm.Material) hsm.Sealer {
	t.Helper()
	h, err := k.Open(t.Context(), m)
	require.NoError(t, err)
	t.Cleanup(h.Close)
	use, err := hsm.As[hsm.Sealer](h)
	require.NoError(t, err)
	return use
}

func create(t testing.TB, k hsm.Keystore, key string) hsm.Material {
	t.Helper()
	m, err := k.Create(t.Context(), key, 1, hsm.AES256, "effect of "+key)
	require.NoError(t, err)
	return m
}

// serves checks that a key seals and opens.
func serves(t testing.TB, h hsm.Sealer) {
	t.Helper()
	body, err := h.Seal(t.Context(), nil, []byte("text"), nil)
	require.NoError(t, err)
	text, err := h.Open(t.Context(), nil, body, nil)
	require.NoError(t, err)
	require.Equal(t, []byte("text"), text)
}

func always() bool { return true }

// lives holds a pair to what a group promises; whatever its members are.
func lives(t *testing.T, p *pair) {
	stores := p.Capabilities().StoresKeys
	m := create(t, p, "orders")
	require.Len(t, m.Copies, 2)
	for _, c := range m.Copies {
		require.Equal(t, m.CheckValue, c.CheckValue)
		require.NoError(t, p.Prove(t.Context(), m, c.Member))
	}
	h := seals(t, p, m)
	before, err := h.Seal(t.Context(), nil, []byte("before"), []byte("aad"))
	require.NoError(t, err)

	t.Run("whichever member is gone, the other opens what both sealed", func(t *testing.T) {
		for _, gone := range []string{"a", "b"} {
			require.NoError(t, p.driver(gone).Deactivate(t.Context()))
			text, err := h.Open(t.Context(), nil, before, []byte("aad"))
			require.NoError(t, err)
			require.Equal(t, []byte("before"), text)
			serves(t, h)
			serves(t, seals(t, p, m))
			_, err = h.Open(t.Context(), nil, before, []byte("other"))
			require.ErrorIs(t, err, hsm.ErrCorrupt, "no wrong answer, and none that could be asked again")
			require.NoError(t, p.driver(gone).Activate(t.Context(), p.secrets[gone]))
		}
	})
	t.Run("with both gone calls wait", func(t *testing.T) {
		for _, gone := range []string{"a", "b"} {
			require.NoError(t, p.driver(gone).Deactivate(t.Context()))
		}
		require.False(t, p.Active())
		_, err := h.Open(t.Context(), nil, before, []byte("aad"))
		require.ErrorIs(t, err, hsm.ErrInactive)
		for _, gone := range []string{"a", "b"} {
			require.NoError(t, p.driver(gone).Activate(t.Context(), p.secrets[gone]))
		}
		serves(t, h)
	})
	t.Run("no key that only one member would hold", func(t *testing.T) {
		require.NoError(t, p.driver("b").Deactivate(t.Context()))
		_, err := p.Create(t.Context(), "late", 1, hsm.AES256, "effect of late")
		require.ErrorIs(t, err, hsm.ErrUnavailable)
		require.NoError(t, p.driver("b").Activate(t.Context(), p.secrets["b"]))
		late := create(t, p, "late")
		require.Len(t, late.Copies, 2)
		if stores {
			found, err := p.Find(t.Context(), "effect of late")
			require.NoError(t, err)
			require.Equal(t, late.CheckValue, found.CheckValue)
		}
	})
	t.Run("a drained member is asked nothing", func(t *testing.T) {
		p.change("a", func(m *group.Member) { m.Serving = false })
		calls := p.Stats()[0].Calls
		serves(t, h)
		require.Equal(t, calls, p.Stats()[0].Calls)
		p.change("a", func(m *group.Member) { m.Serving = true })
		serves(t, h)
		require.Greater(t, p.Stats()[0].Calls, calls)
	})
	t.Run("a copy that is gone is sent again", func(t *testing.T) {
		less := m
		own, _ := m.In("b")
		require.NoError(t, p.driver("b").Destroy(t.Context(), own))
		less.Copies = m.Copies[:1]
		added, missing := p.Complete(t.Context(), less, always)
		require.NoError(t, missing)
		require.Len(t, added, 1)
		require.Equal(t, m.CheckValue, added[0].CheckValue)
		require.NoError(t, p.Prove(t.Context(), less, "a"))
		whole := less
		whole.Copies = append(whole.Copies[:1:1], added...)
		require.NoError(t, p.Prove(t.Context(), whole, "b"))
		added, missing = p.Complete(t.Context(), less, func() bool { return false })
		require.Empty(t, added, "what is destroyed is not sent")
		require.NoError(t, missing)
	})
	t.Run("a key of one member only leaves it for nobody", func(t *testing.T) {
		alone, err := p.driver("a").Create(t.Context(), "alone", 1, hsm.AES256, "effect of alone")
		require.NoError(t, err)
		to := p.list()[1]
		_, err = p.driver("a").Send(t.Context(), alone, hsm.Peer{Member: to.ID, Public: to.Transport.Public})
		require.ErrorIs(t, err, hsm.ErrNotShared)
	})
	t.Run("destroyed everywhere, or not at all", func(t *testing.T) {
		gone := create(t, p, "gone")
		if stores {
			require.NoError(t, p.driver("b").Deactivate(t.Context()))
			require.Error(t, p.Destroy(t.Context(), gone), "one member can not be asked")
			require.NoError(t, p.driver("b").Activate(t.Context(), p.secrets["b"]))
		}
		require.NoError(t, p.Destroy(t.Context(), gone))
		if stores {
			_, err := p.Open(t.Context(), gone)
			require.ErrorIs(t, err, hsm.ErrNotFound)
			_, err = p.Find(t.Context(), "effect of gone")
			require.ErrorIs(t, err, hsm.ErrNotFound)
		}
	})
}

func TestSoftwareGroup(t *testing.T) { lives(t, softPair(t, "soft-pair")) }

// underLoad has workers seal and open while a member goes and comes back. Every answer is right, and only while both are
// gone may one be missing.
func underLoad(t *testing.T, p *pair, workers, rounds int, away func(), back func()) {
	m := create(t, p, "busy")
	h := seals(t, p, m)
	fixed, err := h.Seal(t.Context(), nil, []byte("fixed"), nil)
	require.NoError(t, err)
	wrong := make(chan error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for r := range rounds {
				if err := round(t.Context(), h, fixed, fmt.Sprintf("%d/%d", w, r)); err != nil {
					wrong <- err
					return
				}
			}
		})
	}
	away()
	late := round(t.Context(), h, fixed, "without it")
	back()
	group.Wait()
	require.NoError(t, late)
	close(wrong)
	for err := range wrong {
		require.NoError(t, err)
	}
}

func round(ctx context.Context, h hsm.Sealer, fixed []byte, text string) error {
	got, err := h.Open(ctx, nil, fixed, nil)
	if err != nil || string(got) != "fixed" {
		return fmt.Errorf("opened %q: %w", got, err)
	}
	body, err := h.Seal(ctx, nil, []byte(text), nil)
	if err != nil {
		return err
	}
	if got, err = h.Open(ctx, nil, body, nil); err != nil || string(got) != text {
		return fmt.Errorf("opened %q, sealed was %q: %w", got, text, err)
	}
	return nil
}

func TestSoftwareGroupUnderLoad(t *testing.T) {
	p := softPair(t, "loaded")
	underLoad(t, p, 4, 400,
		func() { require.NoError(t, p.driver("a").Deactivate(t.Context())) },
		func() { require.NoError(t, p.driver("a").Activate(t.Context(), p.secrets["a"])) })
}
