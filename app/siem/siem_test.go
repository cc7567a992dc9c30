package siem_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	syslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/stretchr/testify/require"

	"conclave/app/siem"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/clock"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

// world is a ledger and a clock that moves when told.
type world struct {
	*store.Store
	clock *clock.Manual
}

func newWorld(t *testing.T, driver string) *world {
	t.Helper()
	cfg := storetest.Config(t, driver, store.Schema{"note": store.JSON[string](false)})
	at := clock.NewManual(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	cfg.Clock = at
	storetest.Genesis(t, cfg, nil)
	return &world{storetest.Open(t, cfg), at}
}

func (w *world) write(t *testing.T, n int) {
	t.Helper()
	for range n {
		e := ledger.Entry{Type: "key.use.decrypt", Actor: identity.Principal{Kind: identity.Application, ID: `sh"op]\`, Origin: "10.1.2.3:4711", RequestID: "r-1"},
			Target: ledger.Target{Type: "key", ID: "cards", Version: 1}, Outcome: ledger.Deny, Reason: "no_grant"}
		_, err := w.Append(t.Context(), &e, w.View().Epoch())
		require.NoError(t, err)
	}
}

func source(node string) siem.Source {
	return siem.Source{Instance: "00ff", Mode: "development", Node: node, Version: "test"}
}

func (w *world) exporter(target siem.Target, node string) *siem.Exporter {
	return siem.New(w.Store, target, source(node), w.clock, slog.New(slog.DiscardHandler))
}

func (w *world) size() uint64 { return w.View().Head().Size }

// receiver is a syslog server over TLS on loopback that keeps the sequence numbers it got.
type receiver struct {
	address string
	server  *tls.Config
	client  *tls.Config

	mu       sync.Mutex
	forgets  bool // what comes is taken off the wire and lost, as in the memory of a receiver that dies
	listener net.Listener
	conns    []net.Conn
	seqs     []uint64
	last     *rfc5424.SyslogMessage
	bad      []error
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	made := httptest.NewUnstartedServer(http.NotFoundHandler()) // for its certificate
	made.StartTLS()
	t.Cleanup(made.Close)
	pool := x509.NewCertPool()
	pool.AddCert(made.Certificate())
	r := &receiver{address: "127.0.0.1:0", server: &tls.Config{Certificates: made.TLS.Certificates, MinVersion: tls.VersionTLS12}, client: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	r.up(t)
	t.Cleanup(r.down)
	return r
}

func (r *receiver) up(t *testing.T) {
	t.Helper()
	l, err := tls.Listen("tcp", r.address, r.server)
	require.NoError(t, err)
	r.address, r.listener = l.Addr().String(), l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, conn)
			forgets := r.forgets
			r.mu.Unlock()
			if forgets {
				go func() { _, _ = io.Copy(io.Discard, conn) }()
			} else {
				go r.read(conn)
			}
		}
	}()
}

func (r *receiver) read(conn net.Conn) {
	octetcounting.NewParser(syslog.WithListener(func(res *syslog.Result) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if res.Error != nil {
			if !errors.Is(res.Error, io.EOF) && !strings.Contains(res.Error.Error(), "EOF") {
				r.bad = append(r.bad, res.Error)
			}
			return
		}
		m := res.Message.(*rfc5424.SyslogMessage)
		seq, err := strconv.ParseUint((*m.StructuredData)["conclave@32473"]["seq"], 10, 64)
		if err != nil {
			r.bad = append(r.bad, err)
			return
		}
		r.seqs, r.last = append(r.seqs, seq), m
	}), syslog.WithMaxMessageLength(64<<10)).Parse(conn)
}

// down ends the server and every connection.
func (r *receiver) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener.Close()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// got waits until the newest number is there, and returns all of them.
func (r *receiver) got(t *testing.T, newest uint64) []uint64 {
	t.Helper()
	var out []uint64
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		out = slices.Clone(r.seqs)
		return slices.Contains(out, newest)
	}, 20*time.Second, 5*time.Millisecond)
	require.Empty(t, r.bad)
	return out
}

// requireEveryOne holds numbers to: every one from 0 up, in order, repeats allowed.
func requireEveryOne(t *testing.T, seqs []uint64, size uint64) {
	t.Helper()
	next := uint64(0)
	for _, n := range seqs {
		require.LessOrEqual(t, n, next, "a number was left out")
		if n == next {
			next++
		}
	}
	require.Equal(t, size, next)
}

// A syslog receiver that goes away, comes back, and meets another process gets every entry, in order, none left out,
// as an independent parser reads them.
func TestSyslogDeliversEveryEntryAcrossOutages(t *testing.T) {
	for _, driver := range storetest.Drivers() {
		t.Run(driver, func(t *testing.T) {
			w, r := newWorld(t, driver), newReceiver(t)
			w.write(t, 300)
			x := w.exporter(siem.NewSyslog(r.address, r.client, 256, source("node-1")), "node-1")
			require.NoError(t, x.Run(t.Context()))
			require.Equal(t, w.size(), x.State().Next)
			requireEveryOne(t, r.got(t, w.size()-1), w.size())
			m := r.last
			require.Equal(t, uint8(13*8+4), *m.Priority)
			require.Equal(t, "node-1", *m.Hostname)
			require.Equal(t, "conclave", *m.Appname)
			require.Equal(t, "key.use.decrypt", *m.MsgID)
			data := (*m.StructuredData)["conclave@32473"]
			require.Equal(t, "deny", data["outcome"])
			e, err := ledger.Decode([]byte(strings.TrimPrefix(*m.Message, "\ufeff")))
			require.NoError(t, err)
			require.Equal(t, w.size()-1, e.Seq)

			r.down()
			w.write(t, 10)
			require.Error(t, x.Run(t.Context()))
			require.Equal(t, uint64(10), x.State().Behind)
			require.Equal(t, uint64(1), x.State().Failures)
			require.Error(t, x.Run(t.Context()), "it is still so")
			require.Equal(t, uint64(1), x.State().Failures, "not tried again at once")
			w.clock.Advance(24 * time.Hour)
			w.write(t, 10)
			r.up(t)
			require.NoError(t, x.Run(t.Context()))
			requireEveryOne(t, r.got(t, w.size()-1), w.size())
			require.NoError(t, x.Close())

			w.write(t, 5) // another process, which knows only what the database says
			y := w.exporter(siem.NewSyslog(r.address, r.client, 256, source("node-1")), "node-1")
			require.NoError(t, y.Run(t.Context()))
			requireEveryOne(t, r.got(t, w.size()-1), w.size())
			require.Zero(t, y.State().Behind)
			require.NoError(t, y.Close())
		})
	}
}

// What a receiver had taken off the wire and lost comes again on the next connection, as far back as was asked for, in batches.
func TestSyslogRepeatsWhatAReceiverLost(t *testing.T) {
	for name, c := range map[string]struct{ repeats, first uint64 }{"all": {5000, 0}, "some": {700, 900}, "none": {0, 1600}} {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(t, store.SQLite), newReceiver(t)
			w.write(t, 1600-int(w.size()))
			r.down()
			r.forgets = true
			r.up(t)
			x := w.exporter(siem.NewSyslog(r.address, r.client, c.repeats, source("node-1")), "node-1")
			require.NoError(t, x.Run(t.Context()))
			require.Equal(t, w.size(), x.State().Next)

			r.down()
			r.forgets = false
			r.up(t)
			w.write(t, 300)
			require.NoError(t, x.Run(t.Context()))
			var want []uint64
			for n := c.first; n < w.size(); n++ {
				want = append(want, n)
			}
			require.Equal(t, want, r.got(t, w.size()-1))
			w.write(t, 1)
			require.NoError(t, x.Run(t.Context()))
			require.Equal(t, append(want, w.size()-1), r.got(t, w.size()-1), "nothing comes again on the same connection")
			require.NoError(t, x.Close())
		})
	}
}

// A receiver that dies with what it was sent unread is noticed at once, not at a deadline.
func TestSyslogNoticesAReset(t *testing.T) {
	w, r := newWorld(t, store.SQLite), newReceiver(t)
	r.down()
	l, err := tls.Listen("tcp", r.address, r.server)
	require.NoError(t, err)
	r.listener = l
	died := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			err = conn.(*tls.Conn).NetConn().Close() // with data unread, which resets the connection
		}
		died <- err
	}()
	w.write(t, 400)
	target := siem.NewSyslog(r.address, r.client, 0, source("node-1"))
	var records []siem.Record
	require.NoError(t, w.Entries(t.Context(), 0, w.size(), func(e *ledger.Entry, raw []byte) error {
		records = append(records, siem.Record{Entry: e, Raw: slices.Clone(raw)})
		return nil
	}))
	require.Error(t, target.Send(t.Context(), records)) // a context without a deadline
	require.NoError(t, <-died)
	require.NoError(t, target.Close())
}

// Who is not trusted gets nothing.
func TestSyslogRefusesAnotherServer(t *testing.T) {
	w, r := newWorld(t, store.SQLite), newReceiver(t)
	x := w.exporter(siem.NewSyslog(r.address, &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}, 256, source("node-1")), "node-1")
	var unknown *tls.CertificateVerificationError
	require.ErrorAs(t, x.Run(t.Context()), &unknown)
	require.Zero(t, x.State().Next)
}

// One replica at a time delivers to a target; when it stops, another goes on where it was.
func TestOneReplicaDelivers(t *testing.T) {
	w := newWorld(t, store.SQLite)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	first, second := w.exporter(siem.NewFile(path, source("node-1")), "node-1"), w.exporter(siem.NewFile(path, source("node-2")), "node-2")
	require.NoError(t, first.Run(t.Context()))
	w.write(t, 3)
	require.NoError(t, second.Run(t.Context()))
	require.Equal(t, uint64(3), second.State().Behind, "the other has the lease")
	require.NoError(t, w.Release(t.Context(), "export/file", "node-1"))
	require.NoError(t, second.Run(t.Context()))
	requireEveryOne(t, fileSeqs(t, path), w.size())
}

func fileSeqs(t *testing.T, path string) (seqs []uint64) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return jsonSeqs(t, raw)
}

// jsonSeqs reads numbers from OCSF lines; a torn one is passed over.
func jsonSeqs(t *testing.T, raw []byte) (seqs []uint64) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			ClassUID int `json:"class_uid"`
			TypeUID  int `json:"type_uid"`
			Metadata struct {
				Sequence uint64 `json:"sequence"`
			} `json:"metadata"`
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		require.Equal(t, 6003, event.ClassUID)
		require.Equal(t, 6003, event.TypeUID/100)
		seqs = append(seqs, event.Metadata.Sequence)
	}
	require.NoError(t, lines.Err())
	return seqs
}

// A line torn by a crash in the middle of a write is ended; the whole of it comes again.
func TestFileGoesOnBehindATornLine(t *testing.T) {
	w := newWorld(t, store.SQLite)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	x := w.exporter(siem.NewFile(path, source("node-1")), "node-1")
	w.write(t, 4)
	require.NoError(t, x.Run(t.Context()))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, raw[:len(raw)-20], 0o600))
	moved, err := w.MoveExport(t.Context(), "file", w.size(), w.size()-1) // as the crash left it: not yet noted
	require.NoError(t, err)
	require.True(t, moved)
	require.NoError(t, x.Run(t.Context()))
	requireEveryOne(t, fileSeqs(t, path), w.size())

	require.NoError(t, os.Rename(path, path+".1"))
	w.write(t, 2)
	require.NoError(t, x.Run(t.Context()))
	requireEveryOne(t, append(fileSeqs(t, path+".1"), fileSeqs(t, path)...), w.size())
}

// web is an HTTPS collector whose answers the test chooses.
type web struct {
	mu     sync.Mutex
	status int
	answer string
	bodies [][]byte
	auth   string
	kind   string
}

func (h *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.auth, h.kind = r.Header.Get("Authorization"), r.Header.Get("Content-Type")
	if h.status/100 == 2 {
		h.bodies = append(h.bodies, body)
	}
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(h.status)
	io.WriteString(w, h.answer)
}

func (h *web) serve(t *testing.T) (url string, trust *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s.URL, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// A collector that refuses, redirects or is ill gets the same entries again until it takes them.
func TestHTTPDeliversUntilTaken(t *testing.T) {
	w, h := newWorld(t, store.SQLite), &web{}
	url, trust := h.serve(t)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("tok-1\n"), 0o600))
	x := w.exporter(siem.NewHTTP(url, token, trust, source("node-1")), "node-1")
	w.write(t, 300)
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusBadRequest, http.StatusTemporaryRedirect} {
		h.status = status
		require.ErrorContains(t, x.Run(t.Context()), strconv.Itoa(status))
		w.clock.Advance(2 * time.Minute)
	}
	require.Zero(t, x.State().Next)
	h.status = http.StatusAccepted
	require.NoError(t, x.Run(t.Context()))
	require.Len(t, h.bodies, 2)
	requireEveryOne(t, jsonSeqs(t, bytes.Join(h.bodies, nil)), w.size())
	require.Equal(t, "Bearer tok-1", h.auth)
	require.Equal(t, "application/x-ndjson", h.kind)
}

// A collector that takes a part and refuses the rest is not done.
func TestOTLPPartialSuccessIsAFailure(t *testing.T) {
	w, h := newWorld(t, store.SQLite), &web{status: http.StatusOK, answer: `{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}`}
	url, trust := h.serve(t)
	x := w.exporter(siem.NewOTLP(url, "", trust, source("node-1")), "node-1")
	require.ErrorContains(t, x.Run(t.Context()), "refused 1 records: too old")
	w.clock.Advance(2 * time.Minute)
	h.answer = `{"partialSuccess":{}}`
	require.NoError(t, x.Run(t.Context()))
	require.Zero(t, x.State().Behind)
	var body struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []struct {
					TimeUnixNano string `json:"timeUnixNano"`
					Body         struct {
						StringValue string `json:"stringValue"`
					} `json:"body"`
				} `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
	require.NoError(t, json.Unmarshal(h.bodies[len(h.bodies)-1], &body))
	e, err := ledger.Decode([]byte(body.ResourceLogs[0].ScopeLogs[0].LogRecords[0].Body.StringValue))
	require.NoError(t, err)
	require.Equal(t, "genesis", e.Type)
}

// Behind a restore numbers come again: the target is told which were lost, then gets them.
func TestRestoreIsNamed(t *testing.T) {
	w := newWorld(t, store.SQLite)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	x := w.exporter(siem.NewFile(path, source("node-1")), "node-1")
	require.NoError(t, x.Run(t.Context()))
	moved, err := w.MoveExport(t.Context(), "file", w.size(), w.size()+7) // what the lost ledger had
	require.NoError(t, err)
	require.True(t, moved)
	require.NoError(t, x.Run(t.Context()))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(raw), "the ledger was restored to 1 entries; entries 1 to 7, delivered before, are lost")
	w.write(t, 1)
	require.NoError(t, x.Run(t.Context()))
	require.Equal(t, w.size(), x.State().Next)
}

// A target that is new where old entries were deleted is told which, gets what of the control plane is left, and the rest. So
// it does where a new connection begins among what was deleted.
func TestDeletedEntriesAreNamed(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	w := &world{Store: c.Store, clock: c.Clock}
	w.write(t, 300)
	c.Put(t, custodian.KindGrant, "demo-late", access.Grant{ID: "demo-late", Application: custodiantest.ApplicationID, Key: custodiantest.KeyID, CreatedAt: c.Clock.Now(), CreatedBy: "genesis"})
	w.write(t, 300)
	custodiantest.DeleteArchived(t, w.Store, custodiantest.Archive(t, w.Store, t.TempDir(), 0, 512))
	custodiantest.Drop(t, w.Store)
	var want []uint64
	require.NoError(t, w.Present(t.Context(), 0, w.size(), func(e *ledger.Entry, _ []byte) error { want = append(want, e.Seq); return nil }))
	left, _ := slices.BinarySearch(want, 512)
	require.Greater(t, left, 2, "of the first 512 those of the control plane are left")
	require.Greater(t, want[left-1], uint64(256))

	path := filepath.Join(t.TempDir(), "events.jsonl")
	x := w.exporter(siem.NewFile(path, source("node-1")), "node-1")
	require.NoError(t, x.Run(t.Context()))
	require.Equal(t, w.size(), x.State().Next)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var gaps, entries [][]byte
	for line := range bytes.Lines(raw) {
		if bytes.Contains(line, []byte(`"gap":`)) {
			gaps = append(gaps, line)
		} else {
			entries = append(entries, line)
		}
	}
	require.Len(t, gaps, 1)
	require.Contains(t, string(gaps[0]), "to 511 were deleted under retention by ceremony c-delete; those of the control plane among them are kept, and follow")
	require.Equal(t, want, jsonSeqs(t, bytes.Join(entries, nil)))

	// A connection that is new right behind them begins 256 entries back, among them.
	moved, err := w.MoveExport(t.Context(), "syslog", 0, 512)
	require.NoError(t, err)
	require.True(t, moved)
	r := newReceiver(t)
	y := w.exporter(siem.NewSyslog(r.address, r.client, 256, source("node-1")), "node-1")
	require.NoError(t, y.Run(t.Context()))
	require.Equal(t, w.size(), y.State().Next)
	r.got(t, w.size()-1)
	require.NoError(t, y.Close())
}

// A cancelled context ends a run; nothing is noted that was not taken.
func TestCancelled(t *testing.T) {
	w, h := newWorld(t, store.SQLite), &web{status: http.StatusOK}
	url, trust := h.serve(t)
	x := w.exporter(siem.NewHTTP(url, "", trust, source("node-1")), "node-1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = x.Run(ctx)
	require.Zero(t, x.State().Next)
}

// The webhook gets what somebody must look at, signed by the node, and nothing else; it is tried again until it is taken.
func TestWebhookIsSignedAndSelective(t *testing.T) {
	w, h := newWorld(t, store.SQLite), &web{status: http.StatusInternalServerError}
	url, trust := h.serve(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := dsse.NewSigner(private)
	require.NoError(t, err)
	pinned, err := ledger.NewNodeKey("node-1", &private.PublicKey)
	require.NoError(t, err)
	x := w.exporter(siem.NewWebhook(url, trust, signer, source("node-1")), "node-1")
	w.write(t, 20)
	require.NoError(t, x.Run(t.Context()), "nothing to tell")
	for _, kind := range []string{"monitor.run", "monitor.alert", "share.report-lost"} {
		_, err := w.Control(t.Context(), func(tx *store.Tx) error {
			return tx.Append(ledger.Entry{Type: kind, Actor: identity.Principal{Kind: identity.Node, ID: "node-1"}, Target: ledger.Target{Type: "rule", ID: "r"}, Outcome: ledger.Failed})
		})
		require.NoError(t, err)
	}
	require.ErrorContains(t, x.Run(t.Context()), "500")
	w.clock.Advance(2 * time.Minute)
	h.status = http.StatusNoContent
	require.NoError(t, x.Run(t.Context()))
	require.Len(t, h.bodies, 2)
	for i, kind := range []string{"monitor.alert", "share.report-lost"} {
		envelope, err := dsse.Parse(h.bodies[i])
		require.NoError(t, err)
		payload, node, err := envelope.VerifyNode(siem.NoticeType, []ledger.NodeKey{pinned})
		require.NoError(t, err)
		require.Equal(t, "node-1", node)
		var notice struct {
			Entry json.RawMessage `json:"entry"`
		}
		require.NoError(t, json.Unmarshal(payload, &notice))
		e, err := ledger.Decode(notice.Entry)
		require.NoError(t, err)
		require.Equal(t, kind, e.Type)
	}
	require.Zero(t, x.State().Behind)
}
