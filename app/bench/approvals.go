package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"conclave/app/client"
	"conclave/app/client/person"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/statement"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

// quorum is the people of the instance, each with their own client of the API. They act in the driver's process, as
// people do at machines of their own: what they compute does not wait among the product's work.
type quorum struct {
	people []*person.Person
	made   int // ceremonies so far
}

func quorumIDs() []string { return []string{"bench-a", "bench-b", "bench-c"} }

// keyFile is where the product's process leaves a person's keys for the driver's.
func keyFile(dir, id string) string { return filepath.Join(dir, id+".keys") }

// passphrase of the key files, which live as long as the run.
func passphrase() *secret.Bytes { return secret.New([]byte("of one run of the benchmark")) }

// handOut writes everybody's keys to their files.
func handOut(signers map[string]*keyfile.Signer, dir string) error {
	for id, s := range signers {
		if err := s.Save(keyFile(dir, id), passphrase(), keyfile.SaveOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// convene opens the people's clients and has them sign the form of duties.
func convene(ctx context.Context, high serving, dir string) (*quorum, error) {
	trust, err := ledger.LoadTrustFile(high.TrustFile)
	if err != nil {
		return nil, err
	}
	q := &quorum{}
	for _, id := range quorumIDs() {
		signer, err := keyfile.Open(keyFile(dir, id), passphrase())
		if err != nil {
			return nil, err
		}
		c, err := client.New(client.Config{URL: high.URL, CAFile: high.CAFile, Signer: signer, Person: id, Instance: trust.Instance})
		if err != nil {
			return nil, err
		}
		seen := filepath.Join(dir, "seen", id)
		if err := os.MkdirAll(seen, 0o700); err != nil {
			return nil, err
		}
		p := &person.Person{API: c, Signer: signer, Trust: trust, StateDir: seen, Clock: clock.NewSystem()}
		if err := acknowledge(ctx, p, id); err != nil {
			return nil, err
		}
		q.people = append(q.people, p)
	}
	return q, nil
}

func acknowledge(ctx context.Context, p *person.Person, id string) error {
	terms, err := p.Terms(ctx, people.Terms{})
	if err != nil {
		return err
	}
	params, err := p.Acknowledge(terms)
	if err != nil {
		return err
	}
	if _, err := p.API.Propose(ctx, "acknowledgement.sign", params, ""); err != nil {
		return fmt.Errorf("%s signing the acknowledgement: %w", id, err)
	}
	return nil
}

// measure is how long approvals, and whole ceremonies, take while d passes.
func (q *quorum) measure(ctx context.Context, d time.Duration) ([]timed, error) {
	votes, whole, err := q.approve(ctx, d)
	if err != nil {
		return nil, err
	}
	return []timed{summary("approval of a ceremony, from its statement to the durable answer", votes),
		summary("ceremony as a whole: proposed, approved twice, executed", whole)}, nil
}

// approve runs governed ceremonies, one after the other, until d is over: one person proposes, two approve, and the second
// approval executes. It returns how long each approval took its signer, from fetching the statement to the durable answer,
// and each ceremony as a whole.
func (q *quorum) approve(ctx context.Context, d time.Duration) (votes, whole []time.Duration, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		start := time.Now()
		asks, approvers := q.people[q.made%3], []*person.Person{q.people[(q.made+1)%3], q.people[(q.made+2)%3]}
		proposed, err := asks.API.Propose(ctx, "template.create", template(q.made), "measured")
		if err != nil {
			return nil, nil, fmt.Errorf("proposing: %w", err)
		}
		q.made++
		c := proposed.Ceremony
		for _, p := range approvers {
			began := time.Now()
			if c, err = p.Vote(ctx, &c, statement.Approve, nil); err != nil {
				return nil, nil, fmt.Errorf("approving: %w", err)
			}
			votes = append(votes, time.Since(began))
		}
		if c.State != "completed" {
			return nil, nil, fmt.Errorf("ceremony %s is %s: %s", c.ID, c.State, c.Outcome)
		}
		whole = append(whole, time.Since(start))
	}
	return votes, whole, nil
}

// template is what a ceremony is about: bounds within which the owner of keys makes them alone.
func template(n int) map[string]any {
	return map[string]any{"id": fmt.Sprintf("bench-template-%04d", n), "label": "Benchmark", "classification": "internal", "max_impact": "low",
		"jurisdictions": []string{"EU"}, "environment": "production", "keystores": []string{keystoreID}, "owners": []string{"bench-a"},
		"name_prefix": fmt.Sprintf("t%04d-", n), "max_oup_days": 365, "max_rup_days": 730, "max_rotate_days": 365, "max_keys": 10}
}
