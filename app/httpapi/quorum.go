package httpapi

import (
	"net/http"
	"slices"
	"time"

	"conclave/app/api"
	"conclave/ceremony"
	"conclave/ceremony/calendar"
	"conclave/ceremony/quorum"
	"conclave/custodian"
)

// quorumHealth says how every share set and every operation would stand losses and pressure. Filters narrow it: one
// operation comes with everybody who could take part in it.
func (s *server) quorumHealth(x *exchange) error {
	q, err := x.query("operation", "share_set", "level")
	if err != nil {
		return err
	}
	level, set := quorum.Level(q.Get("level")), q.Get("share_set")
	if level != "" && level != quorum.Lost && level != quorum.NoSpare && level != quorum.Spare {
		return &custodian.InputError{Field: "query.level", Problem: "unknown", Allowed: "lost, no-spare, spare"}
	}
	if err := x.authorise(readPeople, "quorum", q.Get("operation")); err != nil {
		return err
	}
	shared, err := s.engine.QuorumHealth(x.ctx())
	if err != nil {
		return err
	}
	h := *shared
	if name := q.Get("operation"); name != "" {
		if h.Operations, err = s.engine.OperationHealth(x.ctx(), name); err != nil {
			return err
		}
	}
	h.Operations = slices.DeleteFunc(slices.Clone(h.Operations), func(o quorum.Outlook) bool {
		return level != "" && o.Level() != level || set != "" && o.Set != set
	})
	h.Sets = slices.DeleteFunc(slices.Clone(h.Sets), func(s quorum.SetHealth) bool { return set != "" && s.Set != set })
	return x.json(http.StatusOK, h)
}

// simulateQuorum says what a supposition would come to. It changes nothing, so that it takes no more than reading.
func (s *server) simulateQuorum(x *exchange) error {
	var in quorum.Supposition
	if err := x.decode(&in); err != nil {
		return err
	}
	if err := x.authorise(readPeople, "quorum", ""); err != nil {
		return err
	}
	out, err := s.engine.SimulateQuorum(x.ctx(), x.who, &in)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, out)
}

func (s *server) callPeople(x *exchange) error {
	var in api.CallRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	const most = 1 << 31 // seconds: more than any bound, less than what a duration holds
	if in.AnswerWithinSeconds < 0 || in.AnswerWithinSeconds > most {
		return &custodian.InputError{Field: "answer_within_seconds", Problem: "out of range", Allowed: "a minute or more, at most 90 days"}
	}
	return x.step(func() (*ceremony.Ceremony, error) {
		return s.engine.Call(x.ctx(), x.who, x.c.Param("id"), ceremony.CallRequest{People: in.People, At: in.At, Minutes: in.Minutes, Place: in.Place,
			AnswerWithin: time.Duration(in.AnswerWithinSeconds) * time.Second})
	})
}

func (s *server) answerCall(x *exchange) error {
	var in api.AnswerRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.step(func() (*ceremony.Ceremony, error) {
		return s.engine.Answer(x.ctx(), x.who, x.c.Param("id"), ceremony.Answer(in.Answer), in.Reason, x.evidence)
	})
}

func (s *server) calendar(x *exchange) error {
	id := x.c.Param("id")
	if err := x.authorise(readCeremonies, "ceremony", id); err != nil {
		return err
	}
	event, err := s.engine.Calendar(id)
	if err != nil {
		return err
	}
	x.c.Writer.Header()["Content-Disposition"] = []string{`attachment; filename="ceremony.ics"`}
	return x.write(http.StatusOK, calendar.MIME, event)
}
