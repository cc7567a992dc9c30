package httpapi

import (
	"net/http"
	"time"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
)

func (s *server) healthz(x *exchange) error {
	return x.write(http.StatusOK, typeJSON, []byte(`{"status":"ok"}`))
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"`
}

func (s *server) readyz(x *exchange) error {
	problems := s.cfg.Ready()
	if len(problems) > 0 {
		return x.json(http.StatusServiceUnavailable, readiness{Problems: problems})
	}
	return x.json(http.StatusOK, readiness{Ready: true, Problems: []string{}})
}

func (s *server) scrape(x *exchange) error {
	s.metrics.handler(x)
	return nil
}

func (s *server) openAPI(x *exchange) error { return x.write(http.StatusOK, typeJSON, s.openapi) }

func (s *server) collector(x *exchange) error {
	envelope, err := s.engine.Collector(x.ctx())
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, api.Collector{Envelope: envelope})
}

// status says what anybody may know; whoever is known sees the keystores too.
func (s *server) status(x *exchange) error {
	view, instance, problems := s.door.View(), s.door.Instance(), s.cfg.Ready()
	out := api.Status{
		Instance: instance.ID, Name: instance.Name, Mode: string(instance.Mode), Node: s.door.Node(), Version: s.cfg.Version,
		Ready: len(problems) == 0, Problems: problems, FIPS: s.cfg.FIPS, PolicyDigest: s.door.Policies().Digest(),
		LedgerSize: view.Head().Size, Time: s.clock.Now(),
	}
	if x.who.ID == "" {
		return x.json(http.StatusOK, out)
	}
	if err := x.authorise(readStatus, "instance", ""); err != nil {
		return err
	}
	var err error
	if out.LogKey, err = s.logKey(x, view); err != nil {
		return err
	}
	for _, k := range store.All[key.Keystore](view, custodian.KindKeystore) {
		out.Keystores = append(out.Keystores, s.keystoreOf(view, k))
	}
	return x.json(http.StatusOK, out)
}

// logKey says which key signs the ledger, and what asks for another.
func (s *server) logKey(x *exchange, view *store.View) (*api.LogKey, error) {
	began, err := s.engine.Began(x.ctx())
	if err != nil {
		return nil, err
	}
	term, err := custodian.LogKeyTermOf(view, began, s.clock.Now())
	if err != nil {
		return nil, err
	}
	return &api.LogKey{Key: s.store.LogKeys().Newest(), Since: term.Since, Until: term.Until, AgeDays: int(s.clock.Now().Sub(term.Since) / (24 * time.Hour)), Due: term.Due}, nil
}
