package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// figures of one run of the load generator.
type figures struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of the server, a request
}

// scenario is one row of the table: the same load on the floor and on the product.
type scenario struct {
	name        string
	connections int
	floor       string // script for the floor, "" for none
	product     string // script for the product
	items       int    // items a request, 1 unless batched
}

// load runs wrk against url with a script and reads its figures. Any answer but 2xx fails the run: a
// refusal is cheaper than a data key, and would flatter.
func load(ctx context.Context, url, script string, connections int, d time.Duration) (figures, error) {
	cmd := exec.CommandContext(ctx, "wrk", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", int(d.Seconds())),
		"--latency", "--timeout", "10s", "-s", script, url)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return figures{}, fmt.Errorf("running wrk: %w: %s", err, out.String())
	}
	return parseWrk(out.String())
}

func parseWrk(text string) (figures, error) {
	if m := regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`).FindStringSubmatch(text); m != nil {
		return figures{}, fmt.Errorf("%s requests were refused", m[1])
	}
	if m := regexp.MustCompile(`Socket errors: .*`).FindString(text); m != "" && !strings.HasSuffix(m, "read 0, write 0, timeout 0") {
		return figures{}, errors.New(m)
	}
	var f figures
	var err error
	rate := regexp.MustCompile(`Requests/sec:\s+([\d.]+)`).FindStringSubmatch(text)
	if rate == nil {
		return f, fmt.Errorf("wrk printed no rate: %s", text)
	}
	if f.perSecond, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return f, err
	}
	for name, into := range map[string]*time.Duration{"50": &f.p50, "99": &f.p99} {
		m := regexp.MustCompile(`\s` + name + `%\s+([\d.]+)(us|ms|s)`).FindStringSubmatch(text)
		if m == nil {
			return f, fmt.Errorf("wrk printed no %s%% latency: %s", name, text)
		}
		if *into, err = time.ParseDuration(m[1] + m[2]); err != nil {
			return f, err
		}
	}
	return f, nil
}

// script writes a wrk script that posts what request says. Lua code; `n` counts requests.
func script(dir, name, path, setup, body, headers string) (string, error) {
	text := setup + `
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "` + path + `", {["Content-Type"]="application/json"` + headers + `}, ` + body + `)
end
`
	file := filepath.Join(dir, name+".lua")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// fsyncTime is the median time of a 4 KiB append with fsync in dir: f of the targets.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "fsync")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var samples []time.Duration
	for range 300 {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		samples = append(samples, time.Since(start))
	}
	return median(samples), nil
}
