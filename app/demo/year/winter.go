package year

import (
	"context"
	"fmt"

	"conclave/app/api"
	"conclave/app/demo/cast"
	"conclave/custodian/people"
)

func (s *story) duties(ctx context.Context) error {
	s.tell("three teams begin; custodians accept their duties and prove that their shares open.")
	for _, m := range s.Members {
		if m.Roles[0] != people.RoleCustodian {
			continue
		}
		a, err := s.Act(m.ID)
		if err != nil {
			return err
		}
		if err := a.Acknowledge(ctx); err != nil {
			return fmt.Errorf("%s signing the acknowledgement: %w", m.ID, err)
		}
		if _, err := a.ProveShares(ctx, "share.confirm", "issued"); err != nil {
			return err
		}
	}
	s.say("Security, payments and health, on three sites: no site and no team holds %d of the %d shares.", threshold, len(holders()))
	return nil
}

func (s *story) opening(ctx context.Context) error {
	s.tell("three of five open the keystore.")
	return s.Activate(ctx, vault, func(m *cast.Member, c api.Ceremony) { s.say("%-9s brought a share: %s.", m.Name, c.State) }, holders()[:threshold]...)
}

// cardKey names the keys of the story.
func cardKey(i int) string { return fmt.Sprintf("demo-cards-%02d", i+1) }

func (s *story) cardKeys(ctx context.Context) error {
	s.tell(fmt.Sprintf("%d keys for card numbers, one for each made-up merchant, in one statement.", s.cards))
	items := []map[string]any{}
	for i := range s.cards {
		items = append(items, map[string]any{"id": cardKey(i), "label": fmt.Sprintf("Card numbers of demo merchant %d", i+1), "type": "symmetric-data-encryption",
			"classification": "cardholder-data", "impact": "moderate", "frameworks": []string{"pci-dss"}, "jurisdiction": "EU",
			"environment": "production", "owner": lea, "purpose": "test card numbers of a demo", "keystore": vault})
	}
	done, err := s.Govern(ctx, lea, "batch", map[string]any{"operation": "key.create", "items": items}, "the merchants begin", nil, ida, kim)
	if err != nil {
		return err
	}
	s.say("Ida and Kim signed a list of %d keys; each was made, and is on record, by itself.", len(done.Items))
	return nil
}

const shopID = "demo-shop"

func (s *story) shop(ctx context.Context) error {
	s.tell("the shop is enrolled and works.")
	grants := []map[string]any{}
	for i := range min(s.cards, 32) {
		grants = append(grants, map[string]any{"key": cardKey(i), "operations": []string{"datakey", "encrypt", "decrypt", "rewrap"}, "days": 365})
	}
	params := map[string]any{"id": shopID, "name": "Demo shop", "owner": lea, "environment": "production", "token_days": 365, "grants": grants}
	if _, err := s.Govern(ctx, lea, "application.enrol", params, "the shop goes live", nil, ida, kim); err != nil {
		return err
	}
	issued, err := s.Alone(ctx, lea, "token.issue", map[string]any{"application": shopID, "days": 365}, "first token")
	if err != nil {
		return err
	}
	s.tokens[shopID] = issued.Once
	app, err := s.Bearer(issued.Once)
	if err != nil {
		return err
	}
	dk, err := app.DataKey(ctx, cardKey(0), 32, nil)
	if err != nil {
		return err
	}
	dk.Plaintext.Wipe()
	return nil
}
