package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"conclave/app/bench/floor"
)

// serveFloor serves the floor over TLS 1.3 with a certificate like the product's.
func serveFloor(ctx context.Context) error {
	handler, err := floor.Handler()
	if err != nil {
		return err
	}
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	return announce(ctx, serving{URL: "https://" + l.Addr().String(), PID: os.Getpid()})
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "floor"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// spawn starts this program in another role and reads where it serves.
func spawn(ctx context.Context, role, dir, profile string) (serving, asker, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return serving{}, asker{}, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-role", role, "-dir", dir, "-profile", profile)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return serving{}, asker{}, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return serving{}, asker{}, nil, err
	}
	if err := cmd.Start(); err != nil {
		return serving{}, asker{}, nil, err
	}
	lines := bufio.NewReader(out)
	stop := sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := lines.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		stop()
		return serving{}, asker{}, nil, fmt.Errorf("starting the %s: %w", role, err)
	}
	var s serving
	if err := json.Unmarshal(line, &s); err != nil {
		stop()
		return serving{}, asker{}, nil, fmt.Errorf("the %s did not start: %w", role, err)
	}
	return s, asker{in, lines}, stop, nil
}

// drive runs every scenario in rounds, floor and product in turn, and prints the table.
func drive(ctx context.Context, o options) error {
	dir, rounds, d := o.dir, o.rounds, o.each
	if dir == "" {
		temp, err := os.MkdirTemp("", "conclave-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	low, _, stopFloor, err := spawn(ctx, "floor", dir, "")
	if err != nil {
		return err
	}
	defer stopFloor()
	high, product, stopProduct, err := spawn(ctx, "product", dir, o.profile)
	if err != nil {
		return err
	}
	defer stopProduct()
	q, err := convene(ctx, high, dir)
	if err != nil {
		return err
	}
	scenarios, err := prepare(dir, high)
	if err != nil {
		return err
	}
	f, err := fsyncTime(dir)
	if err != nil {
		return err
	}
	fmt.Printf("fsync of 4 KiB: %s (median). Load: wrk, one thread, %s a run, medians of %d interleaved rounds.\n\n", f.Round(time.Microsecond), d, rounds)
	fmt.Println("| what | connections | floor /s | product /s | ratio | floor p99 | product p99 | product p50 | floor CPU | product CPU |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	before, calls := diskUse(dir), 0.0
	for _, s := range scenarios {
		if !strings.Contains(s.name, o.only) {
			continue
		}
		if s.items > 0 { // a batch's one entry lists a hundred items: another measure of disk
			defer fmt.Printf("disk, single calls only: %.0f bytes a call over %.1f million calls\n", float64(diskUse(dir)-before)/calls, calls/1e6)
		}
		n, err := s.measure(ctx, low, high, rounds, d)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		calls += n
	}
	memory := resident(high.PID)
	fmt.Printf("\nmemory after all of it: %d MiB resident; ready %d ms after start (keystore opened in process)\n", memory, high.ReadyMS)
	return measureBeside(ctx, high, product, q, scenarios[0].product, time.Duration(rounds)*d)
}

// measure runs one row and prints it. It returns how many requests the product served.
func (s scenario) measure(ctx context.Context, low, high serving, rounds int, d time.Duration) (float64, error) {
	var floors, products []figures
	for range rounds {
		if s.floor != "" {
			f, err := measured(ctx, low, s.floor, s.connections, d)
			if err != nil {
				return 0, fmt.Errorf("floor: %w", err)
			}
			floors = append(floors, f)
		}
		p, err := measured(ctx, high, s.product, s.connections, d)
		if err != nil {
			return 0, fmt.Errorf("product: %w", err)
		}
		products = append(products, p)
	}
	p := medians(products)
	rate := p.perSecond * float64(max(1, s.items))
	below, ratio, belowP99, belowCPU := "", "", "", ""
	if s.floor != "" {
		f := medians(floors)
		below, ratio = fmt.Sprintf("%.0f", f.perSecond), fmt.Sprintf("%.2f", rate/f.perSecond)
		belowP99, belowCPU = short(f.p99), micros(f.cpu)
	}
	fmt.Printf("| %s | %d | %s | %.0f | %s | %s | %s | %s | %s | %s |\n", s.name, s.connections, below, rate, ratio, belowP99,
		short(p.p99), short(p.p50), belowCPU, micros(p.cpu))
	return p.perSecond * d.Seconds() * float64(rounds), nil
}

// measured is load with the server's CPU time a request.
func measured(ctx context.Context, target serving, script string, connections int, d time.Duration) (figures, error) {
	before := cpuTime(target.PID)
	f, err := load(ctx, target.URL, script, connections, d)
	if err != nil {
		return f, err
	}
	f.cpu = time.Duration(float64(cpuTime(target.PID)-before) / (f.perSecond * d.Seconds()))
	return f, nil
}

// cpuTime is the CPU time a process has used, in clock ticks of 10 ms.
func cpuTime(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
}

func short(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64) + " ms"
}

func medians(all []figures) figures {
	pick := func(f func(figures) float64) float64 {
		values := make([]float64, len(all))
		for i, x := range all {
			values[i] = f(x)
		}
		return median(values)
	}
	return figures{
		perSecond: pick(func(f figures) float64 { return f.perSecond }),
		p50:       time.Duration(pick(func(f figures) float64 { return float64(f.p50) })),
		p99:       time.Duration(pick(func(f figures) float64 { return float64(f.p99) })),
		cpu:       time.Duration(pick(func(f figures) float64 { return float64(f.cpu) })),
	}
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// resident is a process's resident memory in MiB.
func resident(pid int) int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib >> 10
		}
	}
	return 0
}

// diskUse is what the instance's folder holds, in bytes.
func diskUse(dir string) int64 {
	var total int64
	_ = filepath.Walk(filepath.Join(dir, "instance"), func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}
