package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/custodian/people"
)

func TestQuorumHealth(t *testing.T) {
	e := newEdge(t, options{})
	var h api.QuorumHealth
	e.audit(t, "/v1/quorum").into(t, &h)
	require.Equal(t, 5, h.Active)
	require.Greater(t, len(h.Operations), 20)
	find := func(h api.QuorumHealth, operation string) api.Outlook {
		for _, o := range h.Operations {
			if o.Operation == operation {
				return o
			}
		}
		t.Fatalf("no %s", operation)
		return api.Outlook{}
	}
	require.Equal(t, api.Losses{Survived: 1, Critical: []string{"demo-ada", "demo-ben"}}, find(h, "custodian.resume").Losses)
	require.Equal(t, "nobody else is left with role witness", find(h, "key.destroy").Lack)

	e.change(t, "demo-ada", func(p *people.Person) { p.Status = people.StatusLeft })
	e.audit(t, "/v1/quorum?operation=custodian.resume").into(t, &h)
	require.Len(t, h.Operations, 1)
	require.Equal(t, 0, h.Operations[0].Losses.Survived, "seen at once")
	require.Len(t, h.Operations[0].Requesters, 4)
	require.Equal(t, "nobody else is left with role security officer", h.Operations[0].Requesters[0].Lack, "ben asks, and is the officer")
	require.True(t, h.Operations[0].Requesters[1].Ready)
	var narrow api.QuorumHealth
	e.audit(t, "/v1/quorum?level=no-spare").into(t, &narrow)
	require.NotEmpty(t, narrow.Operations)
	for _, o := range narrow.Operations {
		require.Zero(t, o.Losses.Survived)
	}
	require.Equal(t, "invalid_field", e.audit(t, "/v1/quorum?level=high").problem(t).Code)
	require.Equal(t, "not_found", e.audit(t, "/v1/quorum?operation=king.crown").problem(t).Code)
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodGet, "/v1/quorum", "").status, "no application's business")

	metrics := string(e.call(t, http.MethodGet, "/metrics", "", "").body)
	require.Contains(t, metrics, `conclave_quorum_losses_survived{keys="",operation="custodian.resume"} 0`)
	require.Contains(t, metrics, `conclave_quorum_losses_survived{keys="protected",operation="key.destroy"} -1`)
	require.Contains(t, metrics, `conclave_duties_overdue{kind="acknowledgement"} 0`)
	require.Less(t, strings.Count(metrics, "conclave_quorum_losses_survived{"), 200)
}

func TestQuorumSimulation(t *testing.T) {
	e := newEdge(t, options{})
	simulate := func(body string) *answer { return e.as(t, "demo-ada", http.MethodPost, "/v1/quorum/simulate", body) }
	var out api.Simulation
	simulate(`{"remove":["demo-ada","demo-ben"]}`).into(t, &out)
	require.Equal(t, "lock_out", out.Refused[0].Code)
	simulate(`{"remove":["demo-eve"],"add":[{"id":"demo-new","roles":["custodian","witness"],"team":"red","site":"north"}]}`).into(t, &out)
	require.Empty(t, out.Refused)
	verdicts := map[string]string{}
	for _, o := range out.Operations {
		verdicts[o.Operation+" "+o.Target] = o.Verdict
	}
	require.Equal(t, "regained", verdicts["key.destroy protected"], "a witness joins")
	for body, field := range map[string]string{
		`{}`: "remove", `{"remove":["demo-zoe"]}`: "remove[0]", `{"roles":{"demo-ada":["king"]}}`: "roles[0]", `{"king":1}`: "king",
	} {
		require.Equal(t, field, simulate(body).problem(t).Field, body)
	}
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodPost, "/v1/quorum/simulate", `{"remove":["demo-ada"]}`).status)
}

func TestCallsOverHTTP(t *testing.T) {
	e := newEdge(t, options{})
	e.change(t, "demo-ben", func(p *people.Person) { p.Backup = "demo-cleo" })
	a := e.as(t, "demo-ada", http.MethodPost, "/v1/ceremonies", `{"operation":"key.create","reason":"test","params":{"id":"called","label":"x","type":"symmetric-data-encryption","classification":"internal","impact":"low","jurisdiction":"EU","environment":"test","owner":"demo-ada","keystore":"soft","purpose":"test"}}`)
	var proposed struct{ Ceremony api.Ceremony }
	a.into(t, &proposed)
	path := "/v1/ceremonies/" + proposed.Ceremony.ID
	at := e.Clock.Now().Add(6 * time.Hour).UTC()
	var c api.Ceremony
	e.as(t, "demo-ada", http.MethodPost, path+"/call", fmt.Sprintf(`{"people":["demo-ben"],"at":%q,"place":"room 4","minutes":30}`, at.Format(time.RFC3339))).into(t, &c)
	require.Equal(t, "room 4", c.Call.Place)
	e.as(t, "demo-ben", http.MethodPost, path+"/answer", `{"answer":"declined","reason":"on leave"}`).into(t, &c)
	require.Equal(t, []string{"demo-ben", "demo-cleo"}, []string{c.Call.People[0].Person, c.Call.People[1].Person})
	require.Equal(t, "demo-ben", c.Call.People[1].BackupFor)
	e.audit(t, path).into(t, &c)
	require.Equal(t, "on leave", c.Call.People[0].Reason)
	event := e.audit(t, path+"/calendar")
	require.Equal(t, "text/calendar; charset=utf-8", event.header.Get("Content-Type"))
	require.Contains(t, string(event.body), "DTEND:"+at.Add(30*time.Minute).Format("20060102T150405Z"))
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodGet, path+"/calendar", "").status)
	require.Equal(t, "answer", e.as(t, "demo-cleo", http.MethodPost, path+"/answer", `{"answer":"maybe"}`).problem(t).Field)
	require.Equal(t, http.StatusForbidden, e.as(t, "demo-dan", http.MethodPost, path+"/answer", `{"answer":"accepted"}`).status, "was not called")
	require.Equal(t, "place", e.as(t, "demo-ada", http.MethodPost, path+"/call", fmt.Sprintf(`{"at":%q,"place":"a\nb"}`, at.Format(time.RFC3339))).problem(t).Field)
	require.Equal(t, "answer_within_seconds", e.as(t, "demo-ada", http.MethodPost, path+"/call", fmt.Sprintf(`{"at":%q,"place":"x","answer_within_seconds":9223372036854775807}`, at.Format(time.RFC3339))).problem(t).Field)
}
