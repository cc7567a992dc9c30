package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// patience bounds every wait. It is far beyond what anything takes, so that a slow machine fails no test.
const patience = 2 * time.Minute

// node is one `conclave server` process.
type node struct {
	cmd    *exec.Cmd
	dir    string
	url    string
	trust  *ledger.TrustFile
	exited chan struct{}
	code   int

	mu      sync.Mutex
	log     bytes.Buffer
	clients map[string]*client.Client // one a caller, as a program keeps its connections
}

// startNode starts a server on a data directory and waits until it serves; else it returns a *exited.
func startNode(w *workshop, dir string, args ...string) (*node, error) {
	n := &node{dir: dir, exited: make(chan struct{}), clients: map[string]*client.Client{}}
	n.cmd = exec.Command(w.binary, append([]string{"server", "--data-dir", dir, "--listen", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	n.cmd.Env = cleanEnviron()
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a run that is cut short leaves no server behind
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	n.cmd.Stderr = write
	err = n.cmd.Start()
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
	}
	serving := make(chan string, 1)
	go n.follow(read, serving)
	select {
	case n.url = <-serving:
	case <-n.exited:
		return nil, &exitError{code: n.code, log: n.logged()}
	case <-time.After(patience):
		n.kill()
		return nil, fmt.Errorf("the server does not serve: %s", n.logged())
	}
	n.trust, err = ledger.LoadTrustFile(filepath.Join(dir, "trust.json"))
	return n, err
}

// exitError: the server ended instead of serving.
type exitError struct {
	code int
	log  string
}

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d: %s", e.code, e.log) }

// follow reads the log until the process has ended.
func (n *node) follow(log io.ReadCloser, serving chan<- string) {
	defer log.Close()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		n.mu.Lock()
		n.log.Write(append(lines.Bytes(), '\n'))
		n.mu.Unlock()
		var line struct{ Msg, URL string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			serving <- line.URL
		}
	}
	_ = n.cmd.Wait() // the code says it all
	n.code = n.cmd.ProcessState.ExitCode()
	close(n.exited)
}

func (n *node) logged() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// kill ends the process as a power failure would, as far as the process can tell.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.exited
	n.hangUp()
}

// stop asks the process to end and waits until it has.
func (n *node) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-n.exited:
	case <-time.After(patience):
		n.kill()
		return errors.New("the server does not stop")
	}
	n.hangUp()
	if n.code != 0 {
		return &exitError{code: n.code, log: n.logged()}
	}
	return nil
}

func (n *node) hangUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.clients {
		c.Close()
	}
	clear(n.clients)
}

func (n *node) ca() string { return filepath.Join(n.dir, "tls", "ca.pem") }

// dial is the client of one caller.
func (n *node) dial(caller string, cfg client.Config) (*client.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.clients[caller]; c != nil {
		return c, nil
	}
	cfg.URL, cfg.CAFile = n.url, n.ca()
	// Each call is made once: what was acknowledged must not depend on a second attempt.
	cfg.Retry = client.Retry{Attempts: 1}
	c, err := client.New(cfg)
	if err != nil {
		return nil, err
	}
	n.clients[caller] = c
	return c, nil
}

// bearer is a connection with a token.
func (n *node) bearer(token string) (*client.Client, error) {
	return n.dial("token "+token, client.Config{Token: secret.New([]byte(token))})
}

// status is what /v1/status says to anybody.
func (n *node) status(ctx context.Context) (api.Status, error) {
	c, err := n.dial("anybody", client.Config{})
	if err != nil {
		return api.Status{}, err
	}
	return c.Status(ctx)
}

// copied is an instance of the test's own.
func copied(t *testing.T, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, copyFolder(from, dir))
	return dir
}

func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}

// serve starts a server that the test's end kills.
func serve(t *testing.T, dir string, args ...string) *node {
	t.Helper()
	n, err := startNode(shared, dir, args...)
	require.NoError(t, err)
	t.Cleanup(n.kill)
	return n
}

// refuses starts a server that must refuse with an exit code, and returns what it said.
func refuses(t *testing.T, code int, dir string, args ...string) string {
	t.Helper()
	n, err := startNode(shared, dir, args...)
	if err == nil {
		n.kill()
	}
	var ended *exitError
	require.ErrorAs(t, err, &ended, "the server must not start")
	require.Equal(t, code, ended.code, ended.log)
	return ended.log
}

// eventually polls until done says so, less and less often; what it waits for has no event to wait on.
func eventually(t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	var last error
	for pause := 20 * time.Millisecond; time.Now().Before(deadline); pause = min(pause+pause/2, 300*time.Millisecond) {
		ok, err := done()
		if ok {
			return
		}
		last = err
		time.Sleep(pause)
	}
	t.Fatalf("%s: not within %s (last: %v)", what, patience, last)
}

// problem is the refusal that an error is.
func problem(t *testing.T, err error) *client.Problem {
	t.Helper()
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	return p
}
