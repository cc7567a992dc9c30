package segment_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/custodiantest"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
)

// written is a segment of the first 512 entries of a real ledger.
func written(t testing.TB) (*custodiantest.Custodian, []byte, ledger.Head) {
	t.Helper()
	c := custodiantest.New(t, custodiantest.Options{})
	for i := c.View().Head().Size; i < 600; i++ {
		e := ledger.Entry{Type: "key.use.datakey", Actor: c.App, Target: ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}, Outcome: ledger.Allow}
		_, err := c.Store.Append(context.Background(), &e, c.View().Epoch())
		require.NoError(t, err)
	}
	return c, write(t, c, 0, 512), headOf(t, c)
}

func headOf(t testing.TB, c *custodiantest.Custodian) ledger.Head {
	t.Helper()
	head, err := c.Store.OpenCheckpoint(c.Store.Checkpoint())
	require.NoError(t, err)
	return head
}

func write(t testing.TB, c *custodiantest.Custodian, from, to uint64) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, segment.Write(context.Background(), &out, segment.Content{Instance: c.Instance.ID, From: from, To: to, Checkpoint: c.Store.Checkpoint(),
		Head: headOf(t, c), Entries: c.Store, Hashes: ledger.HashReader(context.Background(), c.Store.Tree(), c.Store)}))
	return out.Bytes()
}

func open(data []byte) (*segment.File, error) {
	return segment.Open(bytes.NewReader(data), int64(len(data)))
}

func TestASegmentProvesItself(t *testing.T) {
	c, data, head := written(t)
	f, err := open(data)
	require.NoError(t, err)
	require.NoError(t, f.Verify(t.Context(), head))
	require.Equal(t, c.Store.Checkpoint(), f.Checkpoint)
	require.EqualValues(t, 512, f.Manifest.To)
	require.Positive(t, f.Manifest.Control)
	require.Equal(t, data, write(t, c, 0, 512), "equal segments are equal files")
	bundle, err := f.Bundle(1)
	require.NoError(t, err)
	seq := uint64(256)
	for raw, err := range ledger.ReadBundle(bundle) {
		require.NoError(t, err)
		want, _, err := c.Store.EntryAt(t.Context(), seq)
		require.NoError(t, err)
		require.Equal(t, want, raw)
		seq++
	}
	_, err = f.Bundle(2)
	require.ErrorIs(t, err, segment.ErrFormat)

	for _, run := range [][2]uint64{{0, 100}, {1, 257}, {256, 256}, {512, 256}, {0, segment.MaxEntries + 256}} {
		err := segment.Write(t.Context(), io.Discard, segment.Content{From: run[0], To: run[1], Head: head})
		require.ErrorIs(t, err, segment.ErrFormat, "%v", run)
	}
}

// repack makes another archive of the same files, each as change gives it back; nil leaves it out.
func repack(t *testing.T, data []byte, change func(name string, body []byte) (string, []byte)) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		in, err := f.Open()
		require.NoError(t, err)
		body, err := io.ReadAll(in)
		require.NoError(t, err)
		name, body := change(f.Name, body)
		if body == nil {
			continue
		}
		to, err := w.Create(name)
		require.NoError(t, err)
		_, err = to.Write(body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestATamperedSegmentIsRefused(t *testing.T) {
	_, data, head := written(t)
	second := ledger.EntriesPath(1, ledger.TileWidth)
	for name, change := range map[string]func(name string, body []byte) (string, []byte){
		"an entry edited": func(name string, body []byte) (string, []byte) {
			if name == second {
				body = bytes.Replace(body, []byte(`"outcome":"allow"`), []byte(`"outcome":"deny1"`), 1)
			}
			return name, body
		},
		"an entry left out": func(name string, body []byte) (string, []byte) {
			if name == second {
				body = body[2+int(body[0])<<8+int(body[1]):]
			}
			return name, body
		},
		"groups exchanged": func(name string, body []byte) (string, []byte) {
			switch name {
			case second:
				name = ledger.EntriesPath(0, ledger.TileWidth)
			case ledger.EntriesPath(0, ledger.TileWidth):
				name = second
			}
			return name, body
		},
		"a group left out": func(name string, body []byte) (string, []byte) {
			if name == second {
				return name, nil
			}
			return name, body
		},
		"hashes of the rest altered": func(name string, body []byte) (string, []byte) {
			if name == "cover.hashes" {
				body[0] ^= 1
			}
			return name, body
		},
		"hashes of the rest cut": func(name string, body []byte) (string, []byte) {
			if name == "cover.hashes" {
				body = body[:len(body)-32]
			}
			return name, body
		},
		"another time of itself": func(name string, body []byte) (string, []byte) {
			if name == "segment.json" {
				body = bytes.Replace(body, []byte(`"last_at":"2`), []byte(`"last_at":"1`), 1)
			}
			return name, body
		},
		"another count of itself": func(name string, body []byte) (string, []byte) {
			if name == "segment.json" {
				body = bytes.Replace(body, []byte(`"control_entries":`), []byte(`"control_entries":1`), 1)
			}
			return name, body
		},
		"a run of other length": func(name string, body []byte) (string, []byte) {
			if name == "segment.json" {
				body = bytes.Replace(body, []byte(`"to":512`), []byte(`"to":256`), 1)
			}
			return name, body
		},
		"a file added": func(name string, body []byte) (string, []byte) {
			if name == "checkpoint" {
				return "checkpoint2", body
			}
			return name, body
		},
	} {
		t.Run(name, func(t *testing.T) {
			altered := repack(t, data, change)
			require.NotEqual(t, data, altered)
			f, err := open(altered)
			if err == nil {
				err = f.Verify(t.Context(), head)
			}
			require.True(t, err != nil && (strings.Contains(err.Error(), segment.ErrAltered.Error()) || strings.Contains(err.Error(), segment.ErrFormat.Error())), "%v", err)
			require.LessOrEqual(t, strings.Count(err.Error(), segment.ErrAltered.Error()), 1, "it is said once")
		})
	}
	for n := range 20 {
		_, err := open(data[:len(data)*n/20])
		require.ErrorIs(t, err, segment.ErrFormat)
	}
	// Against the head of another ledger, or an earlier one.
	_, _, otherHead := written(t)
	f, err := open(data)
	require.NoError(t, err)
	require.ErrorIs(t, f.Verify(t.Context(), otherHead), segment.ErrAltered)
	early := head
	early.Size = 300
	require.ErrorIs(t, f.Verify(t.Context(), early), segment.ErrAltered)
}

// Whoever is killed while it writes leaves a part behind. The same node takes it away later, and nobody else's.
func TestWhatAKilledWriterLeftIsTakenAway(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	mine := segment.Archive{Directory: dir, Writer: segment.Writer("instance", "node-1")}
	left := func(a segment.Archive, idle time.Duration) string {
		var part string
		err := a.Create(t.Context(), "a.segment.zip", func(w io.Writer) error {
			parts, err := filepath.Glob(filepath.Join(dir, ".segment-"+a.Writer+"-*.partial"))
			require.NoError(t, err)
			for _, p := range parts { // the one that is written now is empty yet
				if info, err := os.Stat(p); err == nil && info.Size() == 0 {
					part = p
				}
			}
			return errors.New("killed")
		})
		require.Error(t, err)
		require.NoError(t, os.WriteFile(part, []byte("half"), 0o600)) // as it stands where nothing runs after the kill
		require.NoError(t, os.Chtimes(part, now, now.Add(-idle)))
		return part
	}
	require.NoError(t, mine.Create(t.Context(), "b.segment.zip", func(w io.Writer) error { _, err := w.Write([]byte("whole")); return err }))
	old, young := left(mine, 2*time.Hour), left(mine, 5*time.Minute)
	others := left(segment.Archive{Directory: dir, Writer: segment.Writer("instance", "node-10")}, 48*time.Hour)
	nobodys := left(segment.Archive{Directory: dir}, 48*time.Hour)
	n, err := mine.Tidy(now)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoFileExists(t, old)
	for _, path := range []string{young, others, nobodys, filepath.Join(dir, "b.segment.zip")} {
		require.FileExists(t, path)
	}
	n, err = mine.Tidy(now.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoFileExists(t, young)
	n, err = segment.Archive{Directory: dir}.Tidy(now)
	require.NoError(t, err)
	require.Zero(t, n, "who is nobody has nothing")
	_, err = segment.Archive{Directory: filepath.Join(dir, "absent"), Writer: mine.Writer}.Tidy(now)
	require.ErrorIs(t, err, segment.ErrUnreachable)
}

func FuzzOpen(f *testing.F) {
	_, data, head := written(f)
	f.Add(data)
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := segment.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if s.Verify(context.Background(), head) == nil && !bytes.Equal(b, data) {
			for i := range uint64(2) { // what verifies holds what was recorded
				got, err := s.Bundle(i)
				require.NoError(t, err)
				genuine, err := open(data)
				require.NoError(t, err)
				want, err := genuine.Bundle(i)
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		}
	})
}
