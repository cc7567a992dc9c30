package year

import (
	"context"
	"fmt"
	"time"

	"conclave/app/client"
)

// nightAlarm: somebody alone at night stops a key; what cannot be undone waits for others.
func (s *story) nightAlarm(ctx context.Context) error {
	if err := s.until(ctx, time.August, 14); err != nil {
		return err
	}
	if err := s.signIn(ctx); err != nil {
		return err
	}
	if err := s.pass(ctx, 19*time.Hour); err != nil { // 3 o'clock
		return err
	}
	s.tell("three in the morning, and a key is suspected.")
	suspected := map[string]any{"key": cardKey(1), "suspected": true, "reason": "a copy of its data was found outside"}
	if _, err := s.Alone(ctx, jon, "key.suspend", suspected, "a copy of its data was found outside"); err != nil {
		return err
	}
	app, err := s.Bearer(s.tokens[shopID])
	if err != nil {
		return err
	}
	_, err = app.DataKey(ctx, cardKey(1), 32, nil)
	if err := s.refused(err, "state_forbids_protect", "Jon suspended it alone, at once; the shop asks for a data key"); err != nil {
		return err
	}
	if _, err := s.Govern(ctx, ida, "key.compromise", map[string]any{"key": cardKey(1), "version": 1, "reason": "confirmed by the investigation"},
		"confirmed by the investigation", nil, jon, kim); err != nil {
		return err
	}
	s.say("By day Ida, Jon and Kim marked version 1 compromised, which nobody can undo.")
	return nil
}

func (s *story) yearlyRotation(ctx context.Context) error {
	if err := s.until(ctx, time.December, 1); err != nil {
		return err
	}
	if err := s.signIn(ctx); err != nil {
		return err
	}
	s.tell(fmt.Sprintf("the yearly rotation of %d keys.", s.cards))
	items := []map[string]any{}
	for i := range s.cards {
		if i != 1 { // whose compromise took its place in August
			items = append(items, map[string]any{"key": cardKey(i)})
		}
	}
	done, err := s.Govern(ctx, lea, "batch", map[string]any{"operation": "key.rotate", "items": items}, "yearly rotation", nil, ida, kim)
	if err != nil {
		return err
	}
	s.say("One statement, two signatures, %d keys: from now on each protects with a new version and reads with both.", len(done.Items))
	return s.useKey(ctx, cardKey(0))
}

// yearsEnd holds what the year left against the record of it.
func (s *story) yearsEnd(ctx context.Context) error {
	if err := s.until(ctx, time.December, 31); err != nil {
		return err
	}
	s.tell("the year ends: quorum health is true.")
	officer, err := s.Act(ida)
	if err != nil {
		return err
	}
	health, err := officer.API.QuorumHealth(ctx, client.QuorumFilter{})
	if err != nil {
		return err
	}
	for _, o := range health.Operations {
		if !o.Ready {
			return fmt.Errorf("%s lacks a quorum at the end of the year: %s", o.Operation, o.Lack)
		}
	}
	s.say("%d people; every one of %d operations has a quorum that can be found.", health.Active, len(health.Operations))
	if err := s.archive(ctx); err != nil {
		return err
	}
	s.tell("the ledger verifies, archive included, and the report tells the year.")
	return s.audit(ctx)
}
