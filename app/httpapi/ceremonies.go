package httpapi

import (
	"encoding/json"
	"net/http"

	"conclave/app/api"
	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/store"
	"conclave/hsm/secret"
)

func (s *server) propose(x *exchange) error {
	var in api.ProposeRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	return x.idempotent(func() (reply, error) {
		// The ceremony remembers the key too: a crash before the answer is kept makes no second ceremony.
		c, once, err := s.engine.Propose(x.ctx(), x.who, ceremony.Proposal{
			Operation: in.Operation, Params: in.Params, Reason: in.Reason, Evidence: x.evidence, Key: key})
		if err != nil {
			return reply{}, err
		}
		raw, err := json.Marshal(s.view(c))
		if err != nil {
			once.Wipe()
			return reply{}, err
		}
		return newReply(http.StatusCreated, api.ProposeResponse{Ceremony: raw}, once)
	})
}

func (s *server) listCeremonies(x *exchange) error {
	q, err := x.query("state", "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(q)
	if err != nil {
		return err
	}
	state := q.Get("state")
	if state != "" && state != "open" && state != "all" {
		return &custodian.InputError{Field: "query.state", Problem: "unknown", Allowed: "open, all"}
	}
	cursor, err := cursorOf(q)
	if err != nil {
		return err
	}
	if err := x.authorise(readCeremonies, "ceremony", ""); err != nil {
		return err
	}
	if bad := s.door.View().Tampered(ceremony.Kind); len(bad) > 0 { // as with every other register: page
		return &store.TamperedError{Kind: ceremony.Kind, ID: bad[0].ID}
	}
	items, next, err := s.engine.List(x.ctx(), ceremony.Filter{Open: state != "all", Limit: min(limit, 200), Cursor: cursor})
	if err != nil {
		return err
	}
	out := api.Page[*ceremony.Ceremony]{Items: items}
	if out.Items == nil {
		out.Items = []*ceremony.Ceremony{}
	}
	if next != "" {
		out.Next = cursorFor(next)
	}
	return x.json(http.StatusOK, out)
}

func (s *server) getCeremony(x *exchange) error {
	id := x.c.Param("id")
	if err := x.authorise(readCeremonies, "ceremony", id); err != nil {
		return err
	}
	c, err := s.engine.Get(id)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, s.view(c))
}

func (s *server) view(c *ceremony.Ceremony) ceremonyView {
	out := ceremonyView{Ceremony: c, Standing: s.engine.Standing(c)}
	if c.State == ceremony.Executing || c.State == ceremony.Indeterminate {
		out.WaitsFor = s.engine.Stalled(c.ID)
	}
	if r, ok := s.reviewOf(s.door.View(), c); ok {
		out.Review = &r
	}
	return out
}

// ceremonyView is a ceremony, how its votes count now, and its review.
type ceremonyView struct {
	*ceremony.Ceremony
	Standing *ceremony.Standing `json:"standing,omitempty"`
	Review   *api.Review        `json:"review,omitempty"`
	WaitsFor string             `json:"waits_for,omitempty"`
}

func (s *server) statement(x *exchange) error {
	q, err := x.query("decision")
	if err != nil {
		return err
	}
	payload, err := s.engine.Statement(x.ctx(), x.who, x.c.Param("id"), q.Get("decision"))
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, api.StatementResponse{Payload: payload})
}

// step answers an unsafe call with the ceremony as it stands afterwards.
func (x *exchange) step(act func() (*ceremony.Ceremony, error)) error {
	return x.idempotent(func() (reply, error) {
		c, err := act()
		if err != nil {
			return reply{}, err
		}
		return newReply(http.StatusOK, x.s.view(c), nil)
	})
}

func (s *server) vote(x *exchange) error {
	var in api.VoteRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.step(func() (*ceremony.Ceremony, error) {
		return s.engine.Vote(x.ctx(), x.who, x.c.Param("id"), in.Envelope)
	})
}

func (s *server) submitShare(x *exchange) error {
	var in api.ShareSubmission
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.step(func() (*ceremony.Ceremony, error) {
		return s.engine.SubmitShare(x.ctx(), x.who, x.c.Param("id"), in.Envelope, in.Sealed)
	})
}

func (s *server) submitComponent(x *exchange) error {
	var in api.ComponentSubmission
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.step(func() (*ceremony.Ceremony, error) {
		return s.engine.SubmitComponent(x.ctx(), x.who, x.c.Param("id"), in.Envelope, in.Sealed)
	})
}

func (s *server) cancel(x *exchange) error {
	var in api.CancelRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.step(func() (*ceremony.Ceremony, error) {
		return s.engine.Cancel(x.ctx(), x.who, x.c.Param("id"), in.Reason)
	})
}

// execute tries a due ceremony again. Whoever calls is seldom who asked for it, so that nothing secret is
// handed over here.
func (s *server) execute(x *exchange) error {
	if x.who.Kind != identity.Human {
		if err := x.authorise(executeCeremony, "ceremony", x.c.Param("id")); err != nil {
			return err
		}
	}
	return x.step(func() (*ceremony.Ceremony, error) {
		c, once, err := s.engine.Execute(x.ctx(), x.who, x.c.Param("id"))
		if once != nil {
			once.Wipe()
		}
		return c, err
	})
}

func (s *server) transcript(x *exchange) error {
	id := x.c.Param("id")
	if err := x.authorise(readCeremonies, "ceremony", id); err != nil {
		return err
	}
	envelope, err := s.engine.Transcript(x.ctx(), id)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, typeJSON, envelope)
}

// cleartext is what a secret says, for the one answer that delivers it.
func cleartext(once *secret.Bytes) (string, error) {
	if once == nil {
		return "", nil
	}
	defer once.Wipe()
	out := ""
	err := once.Use(func(b []byte) error {
		out = string(b)
		return nil
	})
	return out, err
}
