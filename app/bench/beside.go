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

// What the product process does beside the load when the driver asks.
const (
	besideControl   = "control"
	besideApprovals = "approvals"
)

// request asks the product process to do something beside the load, for a time.
type request struct {
	Do  string        `json:"do"`
	For time.Duration `json:"for_ns"`
}

// answer is how long what it did took.
type answer struct {
	Took  []timed `json:"took"`
	Error string  `json:"error"` // "" for none
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
func obey(ctx context.Context, s *store.Store, q *quorum) error {
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
			if err := json.NewEncoder(os.Stdout).Encode(beside(ctx, s, q, r)); err != nil {
				return err
			}
		}
	}
}

func beside(ctx context.Context, s *store.Store, q *quorum, r request) answer {
	if r.Do == besideApprovals {
		votes, whole, err := q.approve(ctx, r.For)
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Took: []timed{summary("approval of a ceremony, from its statement to the durable answer", votes),
			summary("ceremony as a whole: proposed, approved twice, executed", whole)}}
	}
	return answer{Took: []timed{summary("control-plane commit", control(ctx, s, r.For))}}
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

func (a asker) ask(r request) ([]timed, error) {
	if err := json.NewEncoder(a.in).Encode(r); err != nil {
		return nil, err
	}
	line, err := a.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("asking the product for %s: %w", r.Do, err)
	}
	var got answer
	if err := json.Unmarshal(line, &got); err != nil {
		return nil, err
	}
	if got.Error != "" {
		return nil, fmt.Errorf("%s: %s", r.Do, got.Error)
	}
	return got.Took, nil
}

// measureBeside prints how long work of the control plane takes while the data plane is saturated.
func measureBeside(ctx context.Context, high serving, product asker, script string, d time.Duration) error {
	fmt.Println("\n| while 64 connections generate data keys | how many | p50 | p99 |\n|---|---|---|---|")
	for _, do := range []string{besideControl, besideApprovals} {
		loaded := make(chan error, 1)
		go func() {
			_, err := load(ctx, high.URL, script, 64, d+2*time.Second)
			loaded <- err
		}()
		time.Sleep(time.Second) // the load stands
		took, err := product.ask(request{Do: do, For: d})
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
