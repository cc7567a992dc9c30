package httpapi

import (
	"net/http"

	"conclave/app/api"
	"conclave/ceremony/script"
)

func (s *server) scriptRun(x *exchange) error {
	id := x.c.Param("id")
	if err := x.authorise(readCeremonies, "ceremony", id); err != nil {
		return err
	}
	run, err := s.engine.Run(id)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, run)
}

func (s *server) beginScript(x *exchange) error {
	var in api.BeginScriptRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.runStep(http.StatusCreated, func() (*script.Run, error) {
		return s.engine.BeginRun(x.ctx(), x.who, x.c.Param("id"), in.Place, in.Site)
	})
}

func (s *server) actInScript(x *exchange) error {
	var in script.Act
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.runStep(http.StatusOK, func() (*script.Run, error) {
		return s.engine.ActInRun(x.ctx(), x.who, x.c.Param("id"), in)
	})
}

// runStep answers with the record of the ceremony as it stands afterwards.
func (x *exchange) runStep(status int, act func() (*script.Run, error)) error {
	return x.idempotent(func() (reply, error) {
		run, err := act()
		if err != nil {
			return reply{}, err
		}
		return newReply(status, run, nil)
	})
}
