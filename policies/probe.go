package policies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// probe asks every decision point what the carried bundle has an answer to, and says what the bundle fails to answer,
// "" for nothing: an error where there was a decision, or less than the floor. It does not look at what is decided:
// that is for the people who approve, with the back-test before them.
func (e *Engine) probe(ctx context.Context, operations []string, out *Check) (string, error) {
	carried, err := New(ctx, Options{})
	if err != nil {
		return "", err
	}
	for _, mode := range []Mode{Production, Development} {
		for _, ask := range slices.Concat(quorumProbes(mode, operations), authoriseProbes(mode), placementProbes(mode), lifecycleProbes(mode)) {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			out.Probes++
			name, err := ask(ctx, e)
			if err == nil {
				continue
			}
			if errors.Is(err, ErrTimeout) {
				return fmt.Sprintf("%s: too slow: %v", name, err), nil
			}
			if _, usual := ask(ctx, carried); usual == nil {
				return fmt.Sprintf("%s: no answer: %v", name, err), nil
			}
		}
	}
	return "", nil
}

// probing asks one question and names it.
type probing func(ctx context.Context, e *Engine) (string, error)

// probeTime is within every period of what is asked about.
func probeTime() time.Time { return time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC) }

func classifications() []string {
	return []string{"public", "internal", "confidential", "restricted", "cardholder-data", "ephi"}
}

func quorumProbes(mode Mode, operations []string) []probing {
	var out []probing
	for _, operation := range append(slices.Clone(operations), Recover) {
		for _, class := range classifications() {
			for _, roles := range [][]string{{"custodian"}, {"security-officer", "key-manager", "key-owner", "administrator", "custodian"}} {
				in := QuorumInput{Now: probeTime(), Mode: mode, Operation: operation, Requester: Requester{Kind: "human", ID: "probe", Roles: roles},
					Target: QuorumTarget{Type: "probe", ID: "probe", Owner: "probe", Classifications: []string{class}, Threshold: 3, Total: 5}, Precedent: "probe"}
				out = append(out, func(ctx context.Context, e *Engine) (string, error) {
					_, err := e.Quorum(ctx, in)
					return fmt.Sprintf("what %s takes for a key of class %s", operation, class), err
				})
			}
		}
	}
	return out
}

func authoriseProbes(mode Mode) []probing {
	now := probeTime()
	version := VersionFacts{Number: 1, State: "active", ActivationAt: now.AddDate(0, -1, 0), OUPEnd: now.AddDate(0, 6, 0), RUPEnd: now.AddDate(2, 0, 0)}
	var out []probing
	ask := func(in AuthoriseInput) {
		in.Now, in.Mode = now, mode
		out = append(out, func(ctx context.Context, e *Engine) (string, error) {
			_, err := e.Authorise(ctx, in)
			return "whether a " + in.Principal.Kind + " may do " + in.Operation, err
		})
	}
	for _, operation := range []string{"datakey", "encrypt", "decrypt", "rewrap"} {
		for _, class := range classifications() {
			ask(AuthoriseInput{Operation: operation, Version: &version, Onto: &version, PayloadBytes: 32, ProtectedAt: now.AddDate(0, 0, -1),
				Principal: Principal{Kind: "application", ID: "probe", Status: "active", Environment: "production", CredentialExpiresAt: now.AddDate(0, 1, 0)},
				Key:       &KeyFacts{ID: "probe", Type: "symmetric-data-encryption", Classification: class, Impact: "moderate", Jurisdiction: "EU", Environment: "production", Owner: "probe", Keystore: "probe"},
				Keystore:  &KeystoreState{ID: "probe", Environment: "production", Active: true},
				Grant:     &GrantFacts{ID: "probe", Operations: []string{operation}, ExpiresAt: now.AddDate(0, 1, 0)}})
		}
	}
	for _, operation := range []string{"key.read", "keystore.read", "people.read", "application.read", "ceremony.read", "status.read", "policy.read",
		"ledger.read", "report.read", "report.create", "decision.explain"} {
		ask(AuthoriseInput{Operation: operation, Principal: Principal{Kind: "human", ID: "probe", Status: "active", Roles: []string{"security-officer"}}})
		ask(AuthoriseInput{Operation: operation, Principal: Principal{Kind: "auditor", ID: "probe", Status: "active", CredentialExpiresAt: now.AddDate(0, 1, 0)}})
	}
	return out
}

func placementProbes(mode Mode) []probing {
	var out []probing
	for _, class := range classifications() {
		for _, impact := range []string{"low", "moderate", "high"} {
			in := PlacementInput{Now: probeTime(), Mode: mode, Key: PlacementKey{Type: "symmetric-data-encryption", Classification: class, Impact: impact,
				Jurisdiction: "EU", Environment: "production", StrengthBits: 256}, Keystores: []PlacementKeystore{
				{ID: "plain", Status: "registered", Custody: "self-hosted", Jurisdiction: "EU", Environment: "production", KeyStrength: 256, Tenancy: "single"},
				{ID: "hsm", Status: "registered", FIPSStandard: "140-3", FIPSLevel: 3, Certificate: "1", CertificateStatus: "active", Custody: "hyok", Jurisdiction: "EU", Environment: "production", KeyStrength: 256, Tenancy: "single"}}}
			out = append(out, func(ctx context.Context, e *Engine) (string, error) {
				_, err := e.Place(ctx, in)
				return "where a key of class " + class + " may live", err
			})
		}
	}
	return out
}

func lifecycleProbes(mode Mode) []probing {
	var out []probing
	for _, kind := range []string{"symmetric-data-encryption", "symmetric-key-wrapping"} {
		for _, class := range classifications() {
			in := LifecycleInput{Now: probeTime(), Mode: mode, Type: kind, Classification: class}
			out = append(out, func(ctx context.Context, e *Engine) (string, error) {
				_, err := e.Lifecycle(ctx, in)
				return "how long a key of class " + class + " lasts", err
			})
		}
	}
	return out
}
