package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/app/demo/cast"
	"conclave/app/demo/year"
)

// The demo's key and application.
const (
	cardKey = "demo-cards"
	shop    = "demo-shop"
)

// story is the first run, chapter by chapter. Each chapter uses only what a user has: a key file or a token,
// and the API.
func (d *demo) story(ctx context.Context, withoutYear bool) error {
	chapters := []func(context.Context) error{
		d.tellGenesis, d.tellDuties, d.tellActivation, d.tellAlone, d.tellPlacement, d.tellKey,
		d.tellApplication, d.tellFile, d.tellRotation, d.tellSuspension, d.tellToken, d.tellReport, d.tellTampering,
	}
	if !withoutYear {
		chapters = append(chapters, d.tellYear)
	}
	for _, chapter := range chapters {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tellYear rehearses a year in an instance of its own, on a clock that it moves.
func (d *demo) tellYear(ctx context.Context) error {
	d.tell("A year of custody in little, rehearsed on a clock that moves by itself: `conclave demo year` tells it whole.")
	return year.Run(ctx, d.out, year.Options{Dir: filepath.Join(d.dir, "year"), Short: true})
}

func (d *demo) tellGenesis(context.Context) error {
	d.tell("Genesis: one file, signed by everybody it names, is the whole beginning.")
	d.say("%d made-up people signed its SHA-256; that digest is entry 0 of the ledger and the", len(d.state.everybody()))
	d.say("instance's id: %s", d.Trust.Instance)
	d.say("Two keystores were made. Each one's activation secret was split into five shares, each share")
	d.say("sealed to one custodian's key, and forgotten. No server, disk or person has it whole.")
	return nil
}

func (d *demo) tellDuties(ctx context.Context) error {
	d.tell("Custodians accept their duties and prove that their shares are readable.")
	for _, id := range holders()[:4] {
		a, err := d.Act(id)
		if err != nil {
			return err
		}
		if err := a.Acknowledge(ctx); err != nil {
			return fmt.Errorf("%s signing the acknowledgement: %w", id, err)
		}
		n, err := a.ProveShares(ctx, "share.confirm", "issued")
		if err != nil {
			return fmt.Errorf("%s confirming shares: %w", id, err)
		}
		d.say("%-9s signed the form (PCI DSS 3.7.8) and confirmed %d shares by signing a challenge with each.", a.Name, n)
	}
	gil, err := d.Act(leader)
	if err != nil {
		return err
	}
	if err := gil.Acknowledge(ctx); err != nil {
		return fmt.Errorf("%s signing the acknowledgement: %w", leader, err)
	}
	d.say("%-9s signed the form too: he leads ceremonies by their script, and may hold no share.", gil.Name)
	return d.eveInTheWrongOrder(ctx)
}

// eveInTheWrongOrder is the finding that the auditor makes later.
func (d *demo) eveInTheWrongOrder(ctx context.Context) error {
	eve, err := d.Act("demo-eve")
	if err != nil {
		return err
	}
	if _, err := eve.ProveShares(ctx, "share.confirm", "issued"); err != nil {
		return fmt.Errorf("demo-eve confirming shares: %w", err)
	}
	if err := eve.Acknowledge(ctx); err != nil {
		return fmt.Errorf("demo-eve signing the acknowledgement: %w", err)
	}
	d.say("%-9s opened her shares first and signed the form afterwards. Nothing stops her; the auditor will see it.", eve.Name)
	return nil
}

func (d *demo) tellActivation(ctx context.Context) error {
	d.tell("Three of five open the production keystore; a wrong share is named and costs nothing.")
	if err := d.activate(ctx); err != nil {
		return err
	}
	if err := d.Activate(ctx, lab, nil, holders()[:threshold]...); err != nil {
		return err
	}
	d.say("The laboratory's keystore was opened in the same way.")
	return nil
}

// activate opens the vault. Cleo brings a wrong share first.
func (d *demo) activate(ctx context.Context) error {
	three := holders()[:threshold]
	told := func(m *cast.Member, c api.Ceremony) {
		d.say("%-9s brought a share with a signed approval: the ceremony is %s.", m.Name, c.State)
	}
	ada, err := d.Act(three[0])
	if err != nil {
		return err
	}
	proposed, err := ada.API.Propose(ctx, "keystore.activate", map[string]any{"keystore": vault}, "start of the day")
	if err != nil {
		return fmt.Errorf("calling for the activation of %s: %w", vault, err)
	}
	cleo, err := d.Act("demo-cleo")
	if err != nil {
		return err
	}
	_, err = cleo.Bring(ctx, proposed.Ceremony, forge)
	if err := d.refused(err, "share_wrong", "Cleo brings something else first"); err != nil {
		return err
	}
	_, err = d.Bring(ctx, proposed.Ceremony, told, three...)
	return err
}

// refused checks that something was refused for the expected reason, and shows it.
func (d *demo) refused(err error, code, what string) error {
	var p *client.Problem
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: a refusal (%s) was expected, got %v", what, code, err)
	}
	if p.Code != code {
		return fmt.Errorf("%s: a refusal for %s was expected, got %s: %s", what, code, p.Code, p.Detail)
	}
	d.say("%s: refused, %d %s.", what, p.Status, p.Code)
	for _, r := range p.Reasons {
		d.say("   - %s", r.Message)
		if r.Remedy != "" {
			d.say("     what would make it pass: %s", r.Remedy)
		}
	}
	if p.Decision != "" {
		d.say("   on record as decision %s; `conclave why %s` opens it.", p.Decision, p.Decision)
	}
	return nil
}

// keyParams is the key that the demo makes.
func keyParams(keystore string) map[string]any {
	return map[string]any{"id": cardKey, "label": "Demo card numbers", "type": "symmetric-data-encryption",
		"classification": "cardholder-data", "impact": "moderate", "frameworks": []string{"pci-dss"}, "jurisdiction": "EU",
		"environment": "production", "owner": "demo-cleo", "purpose": "test card numbers of the demo", "keystore": keystore}
}

func (d *demo) tellAlone(ctx context.Context) error {
	d.tell("Nobody acts alone: whoever asks can not approve.")
	cleo, err := d.Act("demo-cleo")
	if err != nil {
		return err
	}
	proposed, err := cleo.API.Propose(ctx, "key.create", keyParams(vault), "the shop needs to protect card numbers")
	if err != nil {
		return err
	}
	d.say("Cleo asks for a key for cardholder data. It takes %d other people's signatures.", proposed.Ceremony.Takes.Approvals)
	_, err = cleo.Approve(ctx, proposed.Ceremony)
	if err := d.refused(err, "requester", "Cleo tries to approve it herself"); err != nil {
		return err
	}
	_, err = cleo.API.Cancel(ctx, proposed.Ceremony.ID, "shown; asked for again below")
	return err
}

func (d *demo) tellPlacement(ctx context.Context) error {
	d.tell("Policy decides where a key may live, says why not, and where instead.")
	cleo, err := d.Act("demo-cleo")
	if err != nil {
		return err
	}
	_, err = cleo.API.Propose(ctx, "key.create", keyParams(lab), "closer to the developers")
	var p *client.Problem
	if !errors.As(err, &p) {
		return fmt.Errorf("a refused placement was expected, got %v", err)
	}
	if err := d.refused(err, p.Code, "The same key in the laboratory's keystore"); err != nil {
		return err
	}
	places, err := cleo.API.Place(ctx, api.PlaceRequest{Classification: "cardholder-data", Impact: "moderate",
		Frameworks: []string{"pci-dss"}, Jurisdiction: "EU", Environment: "production"})
	if err != nil {
		return err
	}
	for _, c := range places.Candidates {
		if c.Allowed {
			d.say("It may live in %s.", c.Keystore)
		}
	}
	return nil
}

func (d *demo) tellKey(ctx context.Context) error {
	d.tell("A key is made by ceremony: one asks, two others of two teams sign exactly what will happen.")
	done, err := d.govern(ctx, "demo-cleo", "key.create", keyParams(vault), "the shop needs to protect card numbers", "demo-ada", "demo-ben")
	if err != nil {
		return err
	}
	d.say("%s", done.Title)
	d.say("Ceremony %s is %s; its transcript holds every signature.", done.ID, done.State)
	d.state.Key = cardKey
	return nil
}

// govern proposes as one person and lets others approve.
func (d *demo) govern(ctx context.Context, requester, operation string, params map[string]any, reason string, approvers ...string) (api.Ceremony, error) {
	return d.Govern(ctx, requester, operation, params, reason, func(m *cast.Member, c api.Ceremony) { d.say("%s signed: %s.", m.Name, c.State) }, approvers...)
}

func (d *demo) tellApplication(ctx context.Context) error {
	d.tell("An application is enrolled, with a grant on this one key, and gets its token once.")
	params := map[string]any{"id": shop, "name": "Demo shop", "owner": "demo-cleo", "environment": "production", "token_days": 90,
		"grants": []map[string]any{{"key": cardKey, "operations": []string{"datakey", "encrypt", "decrypt", "rewrap"}, "days": 365}}}
	if _, err := d.govern(ctx, "demo-cleo", "application.enrol", params, "the shop goes live", "demo-ada", "demo-ben"); err != nil {
		return err
	}
	cleo, err := d.Act("demo-cleo")
	if err != nil {
		return err
	}
	issued, err := cleo.API.Propose(ctx, "token.issue", map[string]any{"application": shop, "days": 90}, "first token")
	if err != nil {
		return fmt.Errorf("issuing the application's token: %w", err)
	}
	ada, err := d.Act("demo-ada")
	if err != nil {
		return err
	}
	auditor, err := ada.API.Propose(ctx, "token.issue", map[string]any{"auditor": "demo-audrey", "days": 30}, "the yearly audit")
	if err != nil {
		return fmt.Errorf("issuing the auditor's token: %w", err)
	}
	if issued.Once == "" || auditor.Once == "" {
		return errors.New("a token was issued and not delivered")
	}
	d.state.AppToken, d.state.AuditorToken = issued.Once, auditor.Once
	id, _, _ := strings.Cut(issued.Once, ".")
	d.say("Token %s.… was shown this one time; the service keeps only a hash of its secret.", id)
	return nil
}

func (d *demo) tellRotation(ctx context.Context) error {
	d.tell("Rotation: a new version protects from now on, the old one still reads.")
	done, err := d.govern(ctx, "demo-cleo", "key.rotate", map[string]any{"key": cardKey}, "the yearly rotation, early", "demo-ada", "demo-ben")
	if err != nil {
		return err
	}
	d.say("%s", done.Title)
	version, err := d.decryptFile(ctx, false)
	if err != nil {
		return fmt.Errorf("reading the old file after rotation: %w", err)
	}
	d.say("The file from before was read again, with version %d.", version)
	return nil
}

func (d *demo) tellSuspension(ctx context.Context) error {
	d.tell("Restrict alone, release together: one person suspends the key, it takes three to release it.")
	ben, err := d.Act("demo-ben")
	if err != nil {
		return err
	}
	params := map[string]any{"key": cardKey, "suspected": false, "reason": "a drill"}
	if _, err := ben.API.Propose(ctx, "key.suspend", params, "a drill"); err != nil {
		return fmt.Errorf("suspending the key: %w", err)
	}
	d.say("Ben suspended %s at once, alone.", cardKey)
	app, err := d.Bearer(d.state.AppToken)
	if err != nil {
		return err
	}
	_, err = app.DataKey(ctx, cardKey, 32, nil)
	var p *client.Problem
	if !errors.As(err, &p) {
		return fmt.Errorf("a suspended key must not protect, got %v", err)
	}
	if err := d.refused(err, p.Code, "The shop asks for a data key"); err != nil {
		return err
	}
	params = map[string]any{"key": cardKey, "finding": "drill over, nothing found"}
	if _, err := d.govern(ctx, "demo-ben", "key.resume", params, "the drill is over", "demo-ada", "demo-cleo"); err != nil {
		return err
	}
	dk, err := app.DataKey(ctx, cardKey, 32, nil)
	if err != nil {
		return fmt.Errorf("using the key after its release: %w", err)
	}
	dk.Plaintext.Wipe()
	d.say("Released by Ben with Ada and Cleo; the shop works again.")
	return nil
}
