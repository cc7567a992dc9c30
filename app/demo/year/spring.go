package year

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/app/demo/cast"
	"conclave/ceremony/statement"
	"conclave/custodian/people"
)

// signIn is what everybody does at least once a quarter: whoever does not for 90 days counts no more (PCI DSS 8.2.6).
func (s *story) signIn(ctx context.Context) error {
	for _, m := range s.Members {
		if slices.Contains(s.left, m.ID) {
			continue
		}
		a, err := s.Act(m.ID)
		if err != nil {
			return err
		}
		if _, err := a.API.Status(ctx); err != nil {
			return fmt.Errorf("%s signing in: %w", m.ID, err)
		}
		if m.Roles[0] != people.RoleCustodian {
			continue
		}
		if _, err := a.ProveShares(ctx, "share.drill", "confirmed"); err != nil {
			return err
		}
	}
	return nil
}

// departure: who leaves counts no more from that moment, and what must follow is on a list with dates.
func (s *story) departure(ctx context.Context) error {
	if err := s.until(ctx, time.February, 10); err != nil {
		return err
	}
	s.tell("Otto leaves.")
	if _, err := s.Govern(ctx, ida, "custodian.remove", map[string]any{"person": otto, "reason": "leaves the company"}, "leaves the company", nil, jon, kim); err != nil {
		return err
	}
	s.left = append(s.left, otto)
	a, err := s.Act(otto)
	if err != nil {
		return err
	}
	_, err = a.API.MyShares(ctx)
	if err := s.refused(err, "unauthenticated", "Otto asks for his share"); err != nil {
		return err
	}
	officer, err := s.Act(ida)
	if err != nil {
		return err
	}
	duties, err := officer.API.Duties(ctx, false)
	if err != nil {
		return err
	}
	if len(duties) == 0 {
		return errors.New("a departure that leaves nothing to do")
	}
	for _, d := range duties {
		s.say("To do by %s: %s.", d.DueAt.Format("2 January"), d.Task)
	}
	return nil
}

// joining: a new custodian makes keys of her own, and others say that they are hers.
func (s *story) joining(ctx context.Context) error {
	if err := s.until(ctx, time.February, 17); err != nil {
		return err
	}
	s.tell("Pia is invited, and joins.")
	opened, err := s.Alone(ctx, ida, "invitation.open", map[string]any{"person": pia, "name": "Pia Demo"}, "takes Otto's place")
	if err != nil {
		return err
	}
	m := &cast.Member{ID: pia, Name: "Pia Demo", Roles: []people.Role{people.RoleCustodian}, Team: "health", Site: "west"}
	if err := cast.MakeKeys(filepath.Join(s.dir, "people"), m); err != nil {
		return err
	}
	invited, err := s.Bearer(opened.Once)
	if err != nil {
		return err
	}
	invitation, err := invited.Invitation(ctx)
	if err != nil {
		return err
	}
	envelope, err := m.Join(invitation)
	if err != nil {
		return err
	}
	if _, err := invited.Join(ctx, envelope); err != nil {
		return fmt.Errorf("answering the invitation: %w", err)
	}
	thief := &cast.Member{ID: pia}
	if err := cast.MakeKeys(filepath.Join(s.dir, "thief"), thief); err != nil {
		return err
	}
	if envelope, err = thief.Join(invitation); err != nil {
		return err
	}
	_, err = invited.Join(ctx, envelope)
	if _, refused := cast.Refusal(err); refused != nil {
		return fmt.Errorf("an invitation was answered twice: %w", refused)
	}
	s.say("Somebody else who found the invitation later was refused: it is good for one answer.")
	public := m.Public()
	approval, err := public.ApprovalKey.JSON()
	if err != nil {
		return err
	}
	share, err := public.ShareKey.JSON()
	if err != nil {
		return err
	}
	params := map[string]any{"id": pia, "name": m.Name, "roles": m.Roles, "team": m.Team, "site": m.Site,
		"invitation": invitation.ID, "approval_key": json.RawMessage(approval), "share_key": json.RawMessage(share), "compared": "by-voice"}
	if _, err := s.Govern(ctx, ida, "custodian.add", params, "takes Otto's place", nil, jon, kim); err != nil {
		return err
	}
	s.Members = append(s.Members, m)
	a, err := s.Act(pia)
	if err != nil {
		return err
	}
	if err := a.Acknowledge(ctx); err != nil {
		return err
	}
	s.say("She made her keys on her own machine; Ida compared the fingerprints by voice, Jon and Kim approved.")
	return nil
}

// reissue gives everybody new shares, and the departed's opens nothing any more.
func (s *story) reissue(ctx context.Context) error {
	if err := s.until(ctx, time.February, 24); err != nil {
		return err
	}
	s.tell("the shares are issued anew, without Otto and with Pia.")
	holders := []string{ida, jon, kim, nora, pia}
	return s.handOver(ctx, "shares.reissue", map[string]any{"set": vaultSet, "holders": holders}, []string{ida, jon, kim}, holders, holders[2:])
}

// handOver brings old shares and a witness to an issue of new ones, has them confirmed, and brings new ones to the
// cutover.
func (s *story) handOver(ctx context.Context, operation string, params map[string]any, old, holders, bring []string) error {
	done, err := s.attended(ctx, ida, operation, params, "who holds shares changes", old)
	if err != nil {
		return err
	}
	s.say("%d old shares and a witness opened the way: %s.", len(old), done.Title)
	for _, id := range holders {
		a, err := s.Act(id)
		if err != nil {
			return err
		}
		if _, err := a.ProveShares(ctx, "share.confirm", "issued"); err != nil {
			return err
		}
	}
	if _, err := s.attended(ctx, ida, "shares.cutover", map[string]any{"set": vaultSet}, "the new shares are confirmed", bring); err != nil {
		return err
	}
	officer, err := s.Act(ida)
	if err != nil {
		return err
	}
	sets, err := officer.API.ShareSets(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(sets, func(x api.ShareSet) bool { return x.ID == vaultSet })
	if i < 0 {
		return fmt.Errorf("there is no share set %s", vaultSet)
	}
	s.say("Every key was wrapped anew in one commit. Set %s is at epoch %d, %d of %d: %s.", vaultSet, sets[i].Epoch, sets[i].Threshold, sets[i].Total, sets[i].Status)
	return s.useKey(ctx, cardKey(0))
}

// attended calls for a ceremony that shares open, lets a witness attend, and has the shares brought.
func (s *story) attended(ctx context.Context, by, operation string, params map[string]any, reason string, bring []string) (api.Ceremony, error) {
	caller, err := s.Act(by)
	if err != nil {
		return api.Ceremony{}, err
	}
	proposed, err := caller.API.Propose(ctx, operation, params, reason)
	if err != nil {
		return api.Ceremony{}, fmt.Errorf("%s calling for %s: %w", by, operation, err)
	}
	if proposed.Ceremony.Takes.Witness {
		witness, err := s.Act(wilm)
		if err != nil {
			return proposed.Ceremony, err
		}
		if _, err := witness.Vote(ctx, &proposed.Ceremony, statement.Attend, nil); err != nil {
			return proposed.Ceremony, fmt.Errorf("the witness attending %s: %w", operation, err)
		}
	}
	return s.Bring(ctx, proposed.Ceremony, nil, bring...)
}

// useKey shows that the shop still works.
func (s *story) useKey(ctx context.Context, key string) error {
	app, err := s.Bearer(s.tokens[shopID])
	if err != nil {
		return err
	}
	dk, err := app.DataKey(ctx, key, 32, nil)
	if err != nil {
		return fmt.Errorf("the shop using %s: %w", key, err)
	}
	dk.Plaintext.Wipe()
	return nil
}

// lostShare: Nora loses her laptop, and the next quorum is larger.
func (s *story) lostShare(ctx context.Context) error {
	if err := s.until(ctx, time.March, 15); err != nil {
		return err
	}
	if err := s.signIn(ctx); err != nil {
		return err
	}
	s.tell("Nora's laptop is stolen.")
	a, err := s.Act(nora)
	if err != nil {
		return err
	}
	lines, err := a.API.MyShares(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(lines, func(x api.Share) bool { return x.InUse })
	if i < 0 {
		return errors.New("nora holds no share in use")
	}
	if _, err := s.Alone(ctx, nora, "share.report-lost", map[string]any{"set": lines[i].Set, "epoch": lines[i].Epoch, "index": lines[i].Index,
		"exposed": false, "note": "a laptop with an encrypted disk"}, "stolen on the train"); err != nil {
		return err
	}
	health, err := a.API.QuorumHealth(ctx, client.QuorumFilter{ShareSet: vaultSet})
	if err != nil {
		return err
	}
	for _, set := range health.Sets {
		s.say("Set %s: %d usable shares of %d, %d open it.", set.Set, set.Usable, set.Total, set.Threshold)
	}
	return nil
}

// largerQuorum: from three of five to four of seven.
func (s *story) largerQuorum(ctx context.Context) error {
	if err := s.until(ctx, time.March, 19); err != nil {
		return err
	}
	s.tell("the quorum becomes four of seven, and the lost share opens nothing.")
	holders := []string{ida, jon, kim, lea, max, nora, pia}
	return s.handOver(ctx, "quorum.change", map[string]any{"set": vaultSet, "threshold": 4, "holders": holders}, []string{jon, kim, pia}, holders, holders[:4])
}

// quarterly is the drill of the second and third quarter.
func (s *story) quarterly(month time.Month) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.until(ctx, month, 7); err != nil {
			return err
		}
		s.tell("the quarterly drill: everybody proves their share, none of which travels.")
		return s.signIn(ctx)
	}
}
