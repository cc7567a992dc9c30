package year

import (
	"context"
	"fmt"
	"time"
)

// nightAlarm: somebody alone at night stops a key; what cannot be undone waits for others.
func (s *story) nightAlarm(ctx context.Context) error {
	if err := s.until(ctx, time.August, 14); err != nil {
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
	s.tell(fmt.Sprintf("the yearly rotation of %d keys.", s.cards))
	for i := range s.cards {
		if i == 1 {
			continue
		}
		if _, err := s.Govern(ctx, lea, "key.rotate", map[string]any{"key": cardKey(i)}, "yearly rotation", nil, ida, kim); err != nil {
			return err
		}
	}
	return nil
}
