package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// request asks the product process to commit changes of its control plane beside the load, for a time.
type request struct {
	For time.Duration `json:"for_ns"`
}

// answer is how long what it did took.
type answer struct {
	Took timed `json:"took"`
}

type timed struct {
	Name  string        `json:"name"`
	Count int           `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
}

func summary(name string, all []time.Duration) timed {
	out := timed{Name: name, Count: len(all)}
	if len(all) > 0 {
		sorted := slices.Sorted(slices.Values(all))
		out.P50, out.P99 = sorted[len(sorted)/2], sorted[len(sorted)*99/100]
	}
	return out
}

// obey does what the driver asks for, line by line, until it has had enough.
func obey(ctx context.Context, s *store.Store) error {
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(os.Stdin); ; {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, more := <-lines:
			if !more {
				return nil
			}
			var r request
			if err := json.Unmarshal(line, &r); err != nil {
				return err
			}
			if err := json.NewEncoder(os.Stdout).Encode(answer{Took: summary("control-plane commit", control(ctx, s, r.For))}); err != nil {
				return err
			}
		}
	}
}

// control makes a small control-plane change every 25 ms, as a ceremony's steps do, and returns how long each took from
// asking to durable.
func control(ctx context.Context, s *store.Store, d time.Duration) (took []time.Duration) {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return took
		case <-tick.C:
		}
		start := time.Now()
		_, err := s.Control(ctx, func(tx *store.Tx) error {
			return tx.Append(ledger.Entry{Type: "bench.control", Actor: identity.Principal{Kind: identity.Node, ID: "bench"},
				Outcome: ledger.Done, Target: ledger.Target{Type: "node", ID: "bench"}})
		})
		if err == nil {
			took = append(took, time.Since(start))
		}
	}
	return took
}

// asker sends requests to the product process.
type asker struct {
	in  io.Writer
	out *bufio.Reader
}

func (a asker) measure(_ context.Context, d time.Duration) ([]timed, error) {
	if err := json.NewEncoder(a.in).Encode(request{For: d}); err != nil {
		return nil, err
	}
	line, err := a.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("asking the product for commits: %w", err)
	}
	var got answer
	err = json.Unmarshal(line, &got)
	return []timed{got.Took}, err
}

// measureBeside prints how long work of the control plane takes while the data plane is saturated.
func measureBeside(ctx context.Context, high serving, product asker, q *quorum, script string, d time.Duration) error {
	fmt.Println("\n| while 64 connections generate data keys | how many | p50 | p99 |\n|---|---|---|---|")
	for _, measure := range []func(context.Context, time.Duration) ([]timed, error){product.measure, q.measure} {
		loaded := make(chan error, 1)
		go func() {
			_, err := load(ctx, high.URL, script, 64, d+2*time.Second)
			loaded <- err
		}()
		time.Sleep(time.Second) // the load stands
		took, err := measure(ctx, d)
		if err != nil {
			return err
		}
		if err := <-loaded; err != nil {
			return err
		}
		for _, t := range took {
			fmt.Printf("| %s | %d | %s | %s |\n", t.Name, t.Count, short(t.P50), short(t.P99))
		}
	}
	return nil
}
