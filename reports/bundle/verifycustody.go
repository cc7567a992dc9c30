package bundle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/people"
)

// Operations by which the custody log is kept: the signatures are those of the requests that the ceremonies hold.
const (
	opCustody       = "custody."
	opRecord        = opCustody + "record"
	opCountersign   = opCustody + "countersign"
	opAcknowledge   = "acknowledgement.sign"
	opDestroyed     = "share.destroyed"
	stateCompleted  = "completed"
	statusLeft      = people.StatusLeft
	pathOfProposals = "/v1/ceremonies"
)

// custodyLog checks every line of the custody log in the bundle: signed by who did it, and by its witness where it counts.
func (v *verifier) custodyLog(ctx context.Context) error {
	lines := 0
	err := v.bodies(ctx, string(custodian.KindCustody), ErrCustody, func(row RowFile, body []byte) error {
		var e people.CustodyEntry
		var raw struct {
			Facts jsontext.Value `json:"facts"`
		}
		if err := errors.Join(read(row, body, &e), read(row, body, &raw)); err != nil {
			return err
		}
		lines++
		if sum, err := digest(raw.Facts); err != nil || sum != e.Digest || e.ID != row.ID {
			return errors.New("what it says has another digest than it names, or it is another line")
		}
		if err := v.recorded(&e); err != nil {
			return err
		}
		return v.countersigned(&e)
	})
	if err != nil || lines == 0 {
		return err
	}
	v.say("%s of the custody log is signed by who did it, and %d that count or are disputed by a second person, over exactly what the line says.", amount.Each(lines, "line"), v.result.Countersigned)
	return nil
}

// custodyCeremony finds the ceremony that holds one signature under a line.
func (v *verifier) custodyCeremony(id, operation, signer string) (*signedCeremony, error) {
	c := v.custody[id]
	switch {
	case c == nil:
		return nil, fmt.Errorf("ceremony %s, which holds a signature under it, is not in the bundle", clip(id))
	case c.Operation != operation || c.State != stateCompleted:
		return nil, fmt.Errorf("ceremony %s is %s, %s", clip(id), clip(c.Operation), clip(c.State))
	case c.Requester.Kind != human || (signer != "" && c.Requester.ID != signer):
		return nil, fmt.Errorf("ceremony %s is %s's, the line says %s", clip(id), clip(c.requesterName()), clip(signer))
	case !c.exact:
		return nil, fmt.Errorf("the signed request of ceremony %s is not over what its row says was asked for", clip(id))
	}
	return c, nil
}

// recorded holds a line to the signed request of who did it.
func (v *verifier) recorded(e *people.CustodyEntry) error {
	f := e.Facts
	c, err := v.custodyCeremony(e.Recorded, opRecord, f.Who)
	if err != nil {
		return err
	}
	var p struct {
		people.CustodyFacts        // but for what the register adds
		Serial              string `json:"serial"`
	}
	if err := json.Unmarshal(c.Params, &p); err != nil {
		return err
	}
	same := func(asked, says string) bool { return asked == says }
	given := func(asked, says string) bool { return asked == "" || asked == says }
	ok := same(p.Form, f.Form) && same(string(p.Action), string(f.Action)) && same(p.Witness, f.Witness) && same(p.Purpose, f.Purpose) &&
		same(p.Ceremony, f.Ceremony) && same(p.Serial, f.Read) && same(p.NewSerial, f.NewSerial) && same(string(p.Seal), string(f.Seal)) &&
		same(p.Site, f.Site) && same(p.Container, f.Container) && given(string(p.Kind), string(f.Kind)) && given(p.Set, f.Set) &&
		(p.Carrier == f.Carrier || p.Carrier == "" && f.Carrier == f.Who) && (p.Epoch == 0 || p.Epoch == f.Epoch) &&
		(p.Index == 0 || p.Index == f.Index) && (p.At.IsZero() || p.At.UTC().Truncate(time.Second).Equal(f.At))
	if !ok {
		return fmt.Errorf("%s signed something else than the line says", clip(f.Who))
	}
	return nil
}

// countersigned holds a line that counts, or is disputed, to the signed request of its witness.
func (v *verifier) countersigned(e *people.CustodyEntry) error {
	signed := e.State == people.EntryEffective || e.State == people.EntryDisputed
	if signed != (e.Signed != "") {
		return fmt.Errorf("it is %s, and its second signature is %q", clip(string(e.State)), clip(e.Signed))
	}
	if !signed {
		return nil
	}
	witness := e.Facts.Witness
	if p := v.people[witness]; p == nil || p.Status == statusLeft { // somebody else signs in their place
		witness = ""
	}
	c, err := v.custodyCeremony(e.Signed, opCountersign, witness)
	if err != nil {
		return err
	}
	var p struct {
		Entry  string `json:"entry"`
		Digest string `json:"digest"`
		Agree  bool   `json:"agree"`
		Remark string `json:"remark"`
	}
	if err := json.Unmarshal(c.Params, &p); err != nil {
		return err
	}
	if c.Requester.ID == e.Facts.Who || p.Entry != e.ID || p.Digest != e.Digest || p.Agree != (e.State == people.EntryEffective) || p.Remark != e.Remark {
		return fmt.Errorf("%s signed something else than the line says", clip(c.Requester.ID))
	}
	v.result.Countersigned++
	return nil
}

// keep remembers the ceremonies that hold signatures under lines of the custody log, and those that brought keys.
func (v *verifier) keep(c *signedCeremony) {
	switch {
	case strings.HasPrefix(c.Operation, opCustody):
		v.custody[c.ID] = c
	case bringsKey(c.Operation):
		c.Votes, c.Proposal = nil, nil // verified by now
		v.bringing[c.ID] = c
	}
}
