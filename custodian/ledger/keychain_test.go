package ledger_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

func TestSuccessionIsFollowedFromThePinnedKey(t *testing.T) {
	l := newTestLog(t, 40)
	before := l.trust()
	l.rotate()
	l.grow(300)
	once := l.trust()
	l.rotate()
	l.grow(testSize)

	dir := l.export()
	for name, trust := range map[string]*ledger.TrustFile{"pinned before": before, "after one": once, "after both": l.trust(), "nothing pinned": nil} {
		report, err := verify(t, dir, trust)
		require.NoError(t, err, name)
		require.Len(t, report.Rotations, 2, name)
		require.True(t, report.Signed, name)
	}
	// Whoever pinned the key in force, and nothing else, takes what led to it for the past.
	late := l.trust()
	late.LogKeys, late.Handovers = late.LogKeys[2:], nil
	_, err := verify(t, dir, late)
	require.NoError(t, err)

	next, err := before.Follow(l.handed...)
	require.NoError(t, err)
	encoded, err := next.Encode()
	require.NoError(t, err)
	read, err := ledger.ParseTrustFile(encoded)
	require.NoError(t, err)
	require.Equal(t, l.chain().Keys(), read.LogKeys)
	again, err := next.Follow(l.handed...)
	require.NoError(t, err)
	require.Equal(t, next.LogKeys, again.LogKeys)
	earlier, err := next.Before(100)
	require.NoError(t, err)
	require.Equal(t, next.LogKeys[:2], earlier.LogKeys)
}

// A copy of the log from before a rotation stays good, also for whoever knows of the rotation.
func TestOlderCopyIsGoodUnderALaterChain(t *testing.T) {
	l := newTestLog(t, 40)
	dir := l.export()
	l.rotate()
	l.grow(90)
	trust := l.trust()
	trust.Least = ""
	_, err := verify(t, dir, trust)
	require.NoError(t, err)
}

func TestReplacedLogKeySignsNothingMore(t *testing.T) {
	l := newTestLog(t, 40)
	pinned, stolen := l.trust(), l.key
	l.rotate()
	l.grow(100)
	good := l.export()

	sign := func(head ledger.Head) []byte {
		note, err := ledger.SignHead(stolen.Signer, l.origin, head)
		require.NoError(t, err)
		return note
	}
	_, err := l.chain().Open(sign(l.head()))
	require.ErrorIs(t, err, ledger.ErrLogKeyReplaced)
	require.ErrorIs(t, err, ledger.ErrSignature)

	// In a copy that brings the handover, and in one that hides it: the entry is in the log.
	for _, hide := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(dir, os.DirFS(good)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, ledger.CheckpointFile), sign(l.head()), 0o600))
		if hide {
			require.NoError(t, os.Remove(filepath.Join(dir, ledger.HandoversFile)))
		}
		_, err = verify(t, dir, pinned)
		require.ErrorIs(t, err, ledger.ErrSignature, "hidden: %t", hide)
	}
	// The new key does not sign what was before it either.
	early := newTestLogHead(l, 20)
	note, err := ledger.SignHead(l.key.Signer, l.origin, early)
	require.NoError(t, err)
	_, err = l.chain().Open(note)
	require.ErrorIs(t, err, ledger.ErrSignature)
}

// newTestLogHead is a head of the first n entries; its counts do not matter here.
func newTestLogHead(l *testLog, n int) ledger.Head {
	tree := ledger.NewTree()
	for _, raw := range l.raws[:n] {
		tree.Append(ledger.LeafHash(raw))
	}
	return ledger.Head{Size: tree.Size(), Root: tree.Root(), ControlCount: 1}
}

func TestForgedSuccessionIsRefused(t *testing.T) {
	l := newTestLog(t, 40)
	pinned, genuine := l.trust(), l.key
	forger, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), l.origin)
	require.NoError(t, err)
	l.announce(genuine.VerifierKey, forger.VerifierKey)

	self := l.handover(forger, forger)
	_, err = pinned.Follow(self)
	require.Error(t, err, "the key itself vouches for itself")
	require.ErrorIs(t, err, ledger.ErrSignature)

	head := l.head()
	head.Next = forger.VerifierKey
	unproven, err := ledger.SignHead(genuine.Signer, l.origin, head)
	require.NoError(t, err)
	_, err = pinned.Follow(string(unproven))
	require.ErrorIs(t, err, ledger.ErrHandover, "the new key has not signed: nobody showed to have it")

	_, err = pinned.Follow(string(l.checkpoint()))
	require.ErrorIs(t, err, ledger.ErrHandover)

	good := l.handover(genuine, forger)
	altered := strings.Replace(good, forger.VerifierKey, genuine.VerifierKey, 1)
	same, err := pinned.Follow(altered)
	require.NoError(t, err, "it names the pinned key, and so leads nowhere")
	require.Equal(t, pinned.LogKeys, same.LogKeys)
	_, err = pinned.Follow(strings.Replace(good, "authority ", "authority 9", 1))
	require.ErrorIs(t, err, ledger.ErrSignature)

	back := l.handover(genuine, genuine)
	same, err = pinned.Follow(back)
	require.NoError(t, err)
	require.Equal(t, pinned.LogKeys, same.LogKeys, "to itself: it leads nowhere")
	chain, err := pinned.Follow(good)
	require.NoError(t, err)
	_, err = chain.Follow(good, l.handover(forger, forger))
	require.ErrorIs(t, err, ledger.ErrHandover, "to a key that was in force before")
}

func TestForkAtTheRotationIsNamed(t *testing.T) {
	l := newTestLog(t, 40)
	pinned := l.trust()
	f := l.fork(30)
	f.control, f.last, f.epoch = 0, 0, 0
	for _, e := range f.entries {
		if e.Link != nil {
			f.control, f.last = e.Link.Number+1, e.Seq
		}
		f.epoch = e.Epoch
	}
	l.rotate()
	l.grow(100)
	known := l.trust()

	// The thief of the old key hands another log over to a key of their own.
	f.rotate()
	f.grow(120)
	_, err := known.Follow(f.handed...)
	require.ErrorIs(t, err, ledger.ErrFork)
	_, err = verify(t, f.export(), known)
	require.ErrorIs(t, err, ledger.ErrFork)
	_, err = verify(t, f.export(), pinned)
	require.ErrorIs(t, err, ledger.ErrFork, "the checkpoint pinned before tells them apart")

	// The new key signs a log that is not the one handed over.
	other := l.fork(35)
	other.control, other.last, other.epoch = 0, 0, 0
	for _, e := range other.entries {
		if e.Link != nil {
			other.control, other.last = e.Link.Number+1, e.Seq
		}
		other.epoch = e.Epoch
	}
	other.announce(l.chain().Keys()[0], l.key.VerifierKey)
	other.grow(120)
	other.pinned, other.handed, other.key = l.pinned, l.handed, l.key
	bare := *pinned
	bare.Least = ""
	_, err = verify(t, other.export(), &bare)
	require.ErrorIs(t, err, ledger.ErrFork)
}

func TestHandoverWithoutItsEntryBreaksTheRules(t *testing.T) {
	l := newTestLog(t, 40)
	next, err := ledger.GenerateLogKey(filepath.Join(t.TempDir(), "log.key"), l.origin)
	require.NoError(t, err)
	pinned := l.trust()
	l.handed = append(l.handed, l.handover(l.key, next))
	l.key = next
	l.grow(60)
	_, err = verify(t, l.export(), pinned)
	require.ErrorIs(t, err, ledger.ErrRules)
}

func TestTrustFileNamesNoKeyWithoutItsHandover(t *testing.T) {
	l := newTestLog(t, 40)
	l.rotate()
	trust := l.trust()
	trust.Handovers, trust.Least = nil, ""
	_, err := trust.Encode()
	require.ErrorIs(t, err, ledger.ErrTrustFile)
	trust.LogKeys, trust.Handovers = trust.LogKeys[:1], l.handed
	_, err = trust.Encode()
	require.ErrorIs(t, err, ledger.ErrTrustFile)
}
