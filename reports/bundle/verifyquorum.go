package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/amount"
	"conclave/policies"
)

// leastHolders is how many bring a share to whatever is attended: no share set has a lower threshold.
const leastHolders = 2

// signingSkew is how far the node that made a statement, which dates it, may be ahead of the one that counted the vote.
const signingSkew = 30 * time.Second

// approvedEnough holds a ceremony that took place to what is compiled in: its class is one that the operation may have, and
// as many people approved it as no policy can go below. What policy asked beyond that is the row's word.
func (v *verifier) approvedEnough(c *signedCeremony) error {
	if c.State != stateCompleted {
		return nil
	}
	class := policies.Class(c.Class)
	if !policies.MayHaveClass(c.Operation, class) {
		return fmt.Errorf("%s took place as class %q, which it can not have", clip(c.Operation), clip(c.Class))
	}
	voices := map[string]bool{}
	for _, person := range c.Approvers {
		if class == policies.Attended || person != c.Requester.ID {
			voices[person] = true
		}
	}
	least := 0
	switch class {
	case policies.Governed:
		least = v.floor()
	case policies.Attended:
		least = leastHolders
	}
	if len(voices) < least {
		return fmt.Errorf("it took place with the approval of %s, no policy can ask for fewer than %d", amount.Of(len(voices), "person"), least)
	}
	return nil
}

// quorums names the first ceremony that too few approved. It stands behind provenance: by now it is known that whoever
// signed has a key that goes back to genesis.
func (v *verifier) quorums(context.Context) error {
	if v.short != nil {
		return v.short
	}
	v.say("What took place and is governed was approved by at least %s beside the requester, what is attended by at least %s. What policy asked beyond that is the row's word.", amount.Of(v.floor(), "person"), amount.Of(leastHolders, "person"))
	return nil
}

// inTime checks that a vote was given while its statement held: it says itself from when, and until when. Its end is not in it
// any more, as for the service.
func inTime(s *signedStatement, at time.Time) error {
	if s.IssuedAt.IsZero() || s.ExpiresAt.IsZero() {
		return errors.New("it does not say from when until when it holds")
	}
	if at.Before(s.IssuedAt.Add(-signingSkew)) || !at.Before(s.ExpiresAt) {
		return fmt.Errorf("it holds from %s until %s, the vote is said to be of %s", s.IssuedAt.Format(time.RFC3339Nano), s.ExpiresAt.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano))
	}
	return nil
}

// askedOnce refuses one signed request under two ceremonies: each has a nonce of its own.
func (v *verifier) askedOnce(request []byte, ceremony string) error {
	sum := sha256.Sum256(request)
	name := hex.EncodeToString(sum[:])
	if other, taken := v.requests[name]; taken {
		return fmt.Errorf("request: ceremony %s rests on the same one", clip(other))
	}
	v.requests[name] = ceremony
	return nil
}
