package ceremony_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/key"
	"conclave/custodian/people"
)

func (r *rig) call(t *testing.T, id string, ids ...string) *ceremony.Ceremony {
	t.Helper()
	c, err := r.engine.Call(t.Context(), human("demo-ada"), id, ceremony.CallRequest{People: ids, At: r.Clock.Now().Add(12 * time.Hour), Place: "room 4, north"})
	require.NoError(t, err)
	return c
}

func (r *rig) answer(t *testing.T, who, id string, a ceremony.Answer) *ceremony.Ceremony {
	t.Helper()
	c, err := r.engine.Answer(t.Context(), human(who), id, a, "", []byte(`{"signed":"request"}`))
	require.NoError(t, err)
	return c
}

func answers(c *ceremony.Ceremony) map[string]string {
	out := map[string]string{}
	for _, p := range c.Call.People {
		out[p.Person] = strings.TrimSuffix(string(p.Answer)+" for "+p.BackupFor, " for ")
	}
	return out
}

func TestCallWithBackups(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.person(t, "demo-ben", func(p *people.Person) { p.Backup = "demo-dan" })
	r.person(t, "demo-cleo", func(p *people.Person) { p.Backup = "demo-eve" })
	r.person(t, "demo-dan", func(p *people.Person) { p.Backup = "demo-ada" })
	id := r.propose(t, "demo-ada", "key.resume").ID
	c := r.call(t, id, "demo-ben", "demo-cleo")
	require.Equal(t, map[string]string{"demo-ben": "", "demo-cleo": ""}, answers(c))
	require.Equal(t, r.Clock.Now().Add(4*time.Hour), c.Call.People[0].AnswerBy)

	c = r.answer(t, "demo-ben", id, ceremony.Declined)
	require.Equal(t, map[string]string{"demo-ben": "declined", "demo-cleo": "", "demo-dan": " for demo-ben"}, answers(c), "the backup is called at once")
	require.JSONEq(t, `{"signed":"request"}`, string(c.Call.People[0].Evidence))
	c = r.answer(t, "demo-dan", id, ceremony.Declined)
	require.Equal(t, "demo-ada takes no part: requester", c.Call.People[2].Note)

	tick(t, r, 3*time.Hour)
	require.Empty(t, r.state(t, id).Call.People[1].Answer, "cleo has time yet")
	tick(t, r, 2*time.Hour)
	c = r.state(t, id)
	require.Equal(t, map[string]string{"demo-ben": "declined", "demo-cleo": "lapsed", "demo-dan": "declined for demo-ben", "demo-eve": " for demo-cleo"}, answers(c))
	tick(t, r, time.Minute)
	require.Len(t, r.state(t, id).Call.People, 4, "called once")
	c = r.answer(t, "demo-cleo", id, ceremony.Accepted)
	require.Equal(t, "accepted", answers(c)["demo-cleo"], "late, but before it begins")

	r.vote(t, "demo-cleo", id, "approve")
	c = r.state(t, id)
	require.NotNil(t, c.Call.People[1].AttendedAt)
	require.Nil(t, c.Call.People[0].AttendedAt)
	envelope, err := r.engine.Transcript(t.Context(), id)
	require.NoError(t, err)
	parsed, err := dsse.Parse(envelope)
	require.NoError(t, err)
	var transcript struct{ Ceremony struct{ Call ceremony.Call } }
	require.NoError(t, json.Unmarshal(parsed.UnverifiedPayload(), &transcript))
	require.Equal(t, *c.Call, transcript.Ceremony.Call)
}

func TestCallOfEverybodyWhoCouldCome(t *testing.T) {
	r := newRig(t, custodian.Production)
	c := r.call(t, r.propose(t, "demo-ada", "key.resume").ID)
	require.Equal(t, []string{"demo-ben", "demo-cleo", "demo-dan", "demo-eve"}, names(c))
	c = r.call(t, r.propose(t, "demo-ada", "key.destroy").ID)
	require.Contains(t, names(c), "demo-wim", "a witness is wanted")
	require.NoError(t, r.Soft.Deactivate(t.Context()))
	r.person(t, "demo-eve", func(p *people.Person) { p.Status = people.StatusSuspended })
	c = r.call(t, r.propose(t, "demo-ada", "keystore.activate").ID)
	require.Equal(t, []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan"}, names(c), "the holders who count, ada among them")
	_, err := r.bring(t, "demo-ben", c.ID, nil)
	require.NoError(t, err)
	require.NotNil(t, r.state(t, c.ID).Call.People[1].AttendedAt)

	again := r.call(t, c.ID)
	require.Equal(t, []string{"demo-ada", "demo-cleo", "demo-dan"}, names(again), "ben has come already")
	require.Equal(t, 1, again.Call.Sequence)
	for range ceremony.MaxCalls - 2 {
		r.call(t, c.ID)
	}
	_, err = r.engine.Call(t.Context(), human("demo-ada"), c.ID, ceremony.CallRequest{At: r.Clock.Now().Add(time.Hour), Place: "x"})
	require.ErrorContains(t, err, "too_many_calls")
}

func names(c *ceremony.Ceremony) (out []string) {
	for _, p := range c.Call.People {
		out = append(out, p.Person)
	}
	return out
}

func TestCallsAreChecked(t *testing.T) {
	r := newRig(t, custodian.Production)
	r.governed.subjects = []string{"demo-eve"}
	id := r.propose(t, "demo-ada", "key.resume").ID
	good := ceremony.CallRequest{People: []string{"demo-ben"}, At: r.Clock.Now().Add(time.Hour), Place: "room 4"}
	for name, c := range map[string]struct {
		change func(*ceremony.CallRequest)
		field  string
	}{
		"past":        {func(q *ceremony.CallRequest) { q.At = r.Clock.Now() }, "at"},
		"too late":    {func(q *ceremony.CallRequest) { q.At = r.Clock.Now().Add(30 * 24 * time.Hour) }, "at"},
		"no place":    {func(q *ceremony.CallRequest) { q.Place = "" }, "place"},
		"two lines":   {func(q *ceremony.CallRequest) { q.Place = "x\r\nATTACH:x" }, "place"},
		"long place":  {func(q *ceremony.CallRequest) { q.Place = strings.Repeat("x", 201) }, "place"},
		"short":       {func(q *ceremony.CallRequest) { q.Minutes = 1 }, "minutes"},
		"long":        {func(q *ceremony.CallRequest) { q.Minutes = 1 << 30 }, "minutes"},
		"no time":     {func(q *ceremony.CallRequest) { q.AnswerWithin = time.Second }, "answer_within_seconds"},
		"negative":    {func(q *ceremony.CallRequest) { q.AnswerWithin = -time.Hour }, "answer_within_seconds"},
		"stranger":    {func(q *ceremony.CallRequest) { q.People = []string{"demo-zoe"} }, "people[0]"},
		"subject":     {func(q *ceremony.CallRequest) { q.People = []string{"demo-ben", "demo-eve"} }, "people[1]"},
		"twice":       {func(q *ceremony.CallRequest) { q.People = []string{"demo-ben", "demo-ben"} }, "people[1]"},
		"whole world": {func(q *ceremony.CallRequest) { q.People = make([]string, ceremony.MaxCalled+1) }, "people"},
	} {
		t.Run(name, func(t *testing.T) {
			in := good
			c.change(&in)
			_, err := r.engine.Call(t.Context(), human("demo-ada"), id, in)
			var field *key.FieldError
			require.ErrorAs(t, err, &field)
			require.Equal(t, c.field, field.Field)
		})
	}
	_, err := r.engine.Call(t.Context(), human("demo-cleo"), id, good)
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied, "neither requester, administrator nor officer")
	require.NotEmpty(t, denied.Decision)
	_, err = r.engine.Call(t.Context(), human("demo-eve"), id, good)
	require.ErrorAs(t, err, &denied, "whom it is about")
	_, err = r.engine.Calendar(id)
	require.ErrorIs(t, err, ceremony.ErrNotFound)

	_, err = r.engine.Call(t.Context(), human("demo-ada"), id, good)
	require.NoError(t, err)
	_, err = r.engine.Answer(t.Context(), human("demo-dan"), id, ceremony.Accepted, "", nil)
	require.ErrorAs(t, err, &denied, "was not called")
	_, err = r.engine.Answer(t.Context(), human("demo-ben"), id, "perhaps", "", nil)
	require.ErrorContains(t, err, "answer")
	size := r.View().Head().Size
	r.answer(t, "demo-ben", id, ceremony.Accepted)
	r.answer(t, "demo-ben", id, ceremony.Accepted)
	require.Equal(t, size+1, r.View().Head().Size, "said twice, recorded once")
	r.Clock.Advance(time.Hour)
	_, err = r.engine.Answer(t.Context(), human("demo-ben"), id, ceremony.Declined, "", nil)
	require.ErrorIs(t, err, ceremony.ErrNotNow)
	_, err = r.engine.Cancel(t.Context(), human("demo-ada"), id, "")
	require.NoError(t, err)
	_, err = r.engine.Call(t.Context(), human("demo-ada"), id, good)
	require.ErrorIs(t, err, ceremony.ErrEnded)
}

func TestCalendar(t *testing.T) {
	r := newRig(t, custodian.Production)
	id := r.propose(t, "demo-ada", "key.resume").ID
	r.call(t, id, "demo-ben")
	event, err := r.engine.Calendar(id)
	require.NoError(t, err)
	at := r.Clock.Now().Add(12 * time.Hour)
	require.Contains(t, string(event), "\r\nDTSTART:"+at.UTC().Format("20060102T150405Z")+"\r\n")
	require.Contains(t, string(event), "\r\nLOCATION:room 4\\, north\r\n")
	require.Contains(t, string(event), "\r\nSEQUENCE:0\r\n")
	require.Contains(t, string(event), "\r\nSTATUS:CONFIRMED\r\n")
	r.call(t, id, "demo-ben")
	event, err = r.engine.Calendar(id)
	require.NoError(t, err)
	require.Contains(t, string(event), "\r\nSEQUENCE:2\r\n")
	_, err = r.engine.Cancel(t.Context(), human("demo-ada"), id, "")
	require.NoError(t, err)
	event, err = r.engine.Calendar(id)
	require.NoError(t, err)
	require.Contains(t, string(event), "\r\nSEQUENCE:3\r\n")
	require.Contains(t, string(event), "\r\nSTATUS:CANCELLED\r\n")
}
