package year

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"conclave/app/api"
	"conclave/ceremony/bundles"
	"conclave/policies"
)

// policyMistakes are told in the whole year only: bundles are checked in processes of the program's own, which takes its
// time.
func (s *story) policyMistakes(ctx context.Context) error {
	if s.short {
		return nil
	}
	return s.badPolicy(ctx)
}

// badPolicy is caught before it is proposed; a subtler one is not, and is undone by shares.
func (s *story) badPolicy(ctx context.Context) error {
	if err := s.until(ctx, time.July, 5); err != nil {
		return err
	}
	s.tell("a bad policy is caught by its back-test, and one that got through is undone.")
	before, err := s.inForce(ctx)
	if err != nil {
		return err
	}
	_, tried, err := s.handIn(ctx, "stricter states", "authorisation", func(table map[string]any) {
		table["protect_states"] = []string{"pre-activation"} // a slip: what is active protects
	})
	if err != nil {
		return err
	}
	if tried.NewlyDenied == 0 {
		return errors.New("the back-test of a policy that denies everything found nothing")
	}
	s.say("The first, tried on what is on record, would have denied %d of %d decisions: nobody proposes it.", tried.NewlyDenied, tried.Decisions)

	subtle, tried, err := s.handIn(ctx, "rotation is watched", "operations", func(table map[string]any) {
		table["key.rotate"] = []map[string]any{{"class": "G", "when": map[string]any{}, "why": "rotation is watched",
			"controls": []string{"pci-dss-4.0.1:3.7.4"}, "approver_roles": []string{"witness"}, "proposer_roles": []string{"key-manager"}}}
	})
	if err != nil {
		return err
	}
	params := map[string]any{"bundle": subtle, "backtest": tried}
	waiting, err := s.Gather(ctx, ida, "policy.activate", params, "rotation is to be watched", nil, kim, lea, max)
	if err != nil {
		return err
	}
	s.say("The second changes %d quorums. Kim, Lea and Max signed it; it waits an hour, in which any one could have stopped it: %s.", tried.Quorums, waiting.State)
	if err := s.pass(ctx, 2*time.Hour); err != nil {
		return err
	}
	now, err := s.inForce(ctx)
	if err != nil {
		return err
	}
	if now != subtle {
		return fmt.Errorf("bundle %s is in force, not %s", now, subtle)
	}
	manager, err := s.Act(lea)
	if err != nil {
		return err
	}
	proposed, err := manager.API.Propose(ctx, "key.rotate", map[string]any{"key": cardKey(0)}, "a test")
	if err != nil {
		return err
	}
	officer, err := s.Act(ida)
	if err != nil {
		return err
	}
	_, err = officer.Approve(ctx, proposed.Ceremony)
	if err := s.refused(err, "wrong-role", "Nobody who may approve a rotation is left; Ida tries"); err != nil {
		return err
	}
	if _, err := s.attended(ctx, ida, policies.Recover, map[string]any{"bundle": before}, "nobody can rotate a key", []string{ida, jon, kim, lea}); err != nil {
		return err
	}
	if now, err = s.inForce(ctx); err != nil || now != before {
		return errors.Join(err, fmt.Errorf("bundle %s is in force after the recovery, not %s", now, before))
	}
	s.say("Four brought their shares and restored the policy before it; no rule of the bad one was asked.")
	return nil
}

func (s *story) inForce(ctx context.Context) (string, error) {
	a, err := s.Act(ida)
	if err != nil {
		return "", err
	}
	all, err := a.API.Bundles(ctx)
	return all.InForce, err
}

// handIn changes one table of the carried bundle, signs and hands in what comes of it, and has it back-tested.
func (s *story) handIn(ctx context.Context, name, table string, change func(map[string]any)) (string, *api.BacktestSums, error) {
	files, err := policies.FilesOf(policies.Bundle())
	if err != nil {
		return "", nil, err
	}
	files = files.Deciding()
	path := "data/" + table + ".json"
	content := map[string]any{}
	if err := json.Unmarshal(files[path], &content); err != nil {
		return "", nil, fmt.Errorf("reading %s: %w", path, err)
	}
	change(content)
	if files[path], err = json.MarshalIndent(content, "", "  "); err != nil {
		return "", nil, fmt.Errorf("writing %s: %w", path, err)
	}
	engine, err := policies.New(ctx, policies.Options{Files: files})
	if err != nil {
		return "", nil, err
	}
	author, err := s.Act(ida)
	if err != nil {
		return "", nil, err
	}
	upload := api.BundleUpload{}
	if upload.Envelope, err = bundles.Sign(author.Person.Signer, s.Trust.Instance, ida, name, engine.Digest(), s.clock.Now()); err != nil {
		return "", nil, err
	}
	if upload.Archive, err = files.Archive(); err != nil {
		return "", nil, err
	}
	detail, err := author.API.HandIn(ctx, upload)
	if err != nil {
		return "", nil, fmt.Errorf("handing in %q: %w", name, err)
	}
	if _, err := author.API.StartBacktest(ctx, detail.Bundle.Digest); err != nil {
		return "", nil, fmt.Errorf("starting the back-test of %q: %w", name, err)
	}
	tried, err := s.tried(ctx, detail.Bundle.Digest)
	return detail.Bundle.Digest, tried, err
}

// tried waits for a back-test, which runs in the background of the service.
func (s *story) tried(ctx context.Context, digest string) (*api.BacktestSums, error) {
	author, err := s.Act(ida)
	if err != nil {
		return nil, err
	}
	for {
		b, err := author.API.Backtest(ctx, digest)
		if err != nil {
			return nil, err
		}
		if p := b.Progress; p == nil || p.State != "running" {
			if b.Summary == nil {
				return nil, fmt.Errorf("the back-test of %s did not finish: %+v", digest, p)
			}
			return b.Summary, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
