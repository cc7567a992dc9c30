package operation_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// log records one thing done to a form, by the first signature alone.
func (r *sharesRig) log(t *testing.T, who, form, action string, more map[string]any) string {
	t.Helper()
	params := map[string]any{"form": form, "action": action, "witness": theWitness, "purpose": "the test"}
	maps.Copy(params, more)
	return decoded(t, r.run(t, "custody.record", human(who), params))["entry"].(string)
}

func (r *sharesRig) entryOf(t *testing.T, id string) *people.CustodyEntry {
	t.Helper()
	return row[people.CustodyEntry](t, r.rig, custodian.KindCustody, id)
}

func (r *sharesRig) signs(t *testing.T, entry string) map[string]any {
	t.Helper()
	e := r.entryOf(t, entry)
	return decoded(t, r.run(t, "custody.countersign", human(e.Facts.Witness), map[string]any{"entry": entry, "digest": e.Digest, "agree": true}))
}

// custody does one thing to a form, with both signatures.
func (r *sharesRig) custody(t *testing.T, who, form, action string, more map[string]any) map[string]any {
	t.Helper()
	return r.signs(t, r.log(t, who, form, action, more))
}

func (r *sharesRig) form(t *testing.T, id string) *people.ShareForm {
	t.Helper()
	return row[people.ShareForm](t, r.rig, custodian.KindShareForm, id)
}

// card registers a paper card of somebody's share, sealed in a bag.
func (r *sharesRig) card(t *testing.T, id string, index int, serial, site string) {
	t.Helper()
	r.custody(t, r.line(t, vaultSet, 1, index).Custodian, id, "register", registering(index, serial, site))
}

func registering(index int, serial, site string) map[string]any {
	return map[string]any{"kind": "paper", "set": vaultSet, "epoch": 1, "index": index, "new_serial": serial, "site": site, "container": "safe 1"}
}

func intact(serial string) map[string]any { return map[string]any{"serial": serial, "seal": "intact"} }

// TestInvariant01_CustodyLogTakesTwo: nothing done to a form counts on one signature, and the second is that of the
// witness whom the entry names, over what the entry says.
func TestInvariant01_CustodyLogTakesTwo(t *testing.T) {
	r := newSharesRig(t)
	ada := r.line(t, vaultSet, 1, 1).Custodian
	entry := r.log(t, ada, "card-1", "register", registering(1, "AB-0001", "north"))
	e := r.entryOf(t, entry)
	require.Equal(t, people.EntryPending, e.State)
	require.Equal(t, people.FormUnwitnessed, r.form(t, "card-1").State)
	// the bag is not of use before, and the entry takes no other's signature
	require.Equal(t, []string{"form_state"}, r.denied(t, "custody.record", human(ada), map[string]any{"form": "card-1", "action": "check", "witness": theWitness, "purpose": "x"}))
	_, _, err := r.engine.Propose(t.Context(), human(ada), ceremony.Proposal{Operation: "custody.countersign", Reason: "x",
		Params: canonical(t, map[string]any{"entry": entry, "digest": e.Digest, "agree": true})})
	require.Error(t, err, "only the witness")
	_, err = r.prepare(t, "custody.countersign", r.input(t, human(theWitness), map[string]any{"entry": entry, "digest": "00", "agree": true}))
	require.ErrorContains(t, err, "digest")
	result := r.signs(t, entry)
	require.Equal(t, "sealed", result["form_state"])
	require.Equal(t, []string{"entry_ended"}, r.denied(t, "custody.countersign", human(theWitness), map[string]any{"entry": entry, "digest": e.Digest, "agree": true}), "once")
	// who watches alone, or is nobody
	for field, params := range map[string]map[string]any{
		"witness":    {"witness": ada},
		"new_serial": {"new_serial": "AB-0001"},
		"seal":       {"action": "check", "serial": "AB-0001", "seal": "fine"},
		"serial":     {"action": "check", "seal": "intact"},
		"at":         {"action": "check", "serial": "AB-0001", "seal": "intact", "at": r.Clock.Now().Add(days)},
	} {
		p := map[string]any{"form": "card-1", "action": "retire", "witness": theWitness, "purpose": "x"}
		maps.Copy(p, params)
		if field == "new_serial" {
			p["form"], p["action"] = "card-9", "register"
			maps.Copy(p, registering(1, "AB-0001", "north"))
		}
		_, err := r.prepare(t, "custody.record", r.input(t, human(ada), p))
		require.ErrorContains(t, err, field)
	}
	require.Contains(t, r.denied(t, "custody.record", human("demo-fay"), map[string]any{"form": "card-1", "action": "retire", "witness": theWitness, "purpose": "x"}), "not_the_holder")
	require.Contains(t, r.denied(t, "custody.record", human(ada), map[string]any{"form": "card-1", "action": "destroy", "witness": "demo-ben", "purpose": "x"}), "two_shares_one_person")
}

// TestInvariant01_CustodyRoundTrip follows a card: sent, received, checked, opened for a ceremony, sealed into a new
// bag; not opened twice with one serial, and each line of the log complete.
func TestInvariant01_CustodyRoundTrip(t *testing.T) {
	r := newSharesRig(t)
	r.card(t, "card-1", 1, "AB-0001", "north")
	ada := r.line(t, vaultSet, 1, 1).Custodian
	r.custody(t, theWitness2(t, r), "card-1", "send", map[string]any{"serial": "AB-0001", "seal": "intact", "site": "south", "carrier": ada})
	require.Equal(t, people.FormInTransit, r.form(t, "card-1").State)
	r.custody(t, ada, "card-1", "receive", map[string]any{"serial": "AB-0001", "seal": "intact", "site": "south", "container": "safe 7"})
	r.custody(t, ada, "card-1", "check", intact("AB-0001"))
	require.Equal(t, people.FormReceived, r.form(t, "card-1").State)
	opening := intact("AB-0001")
	_, err := r.prepare(t, "custody.record", r.input(t, human(ada), map[string]any{"form": "card-1", "action": "open", "witness": theWitness, "purpose": "x", "serial": "AB-0001", "seal": "intact"}))
	require.ErrorContains(t, err, "ceremony")
	c := r.propose(t, "demo-ada", "shares.reissue", map[string]any{"set": vaultSet})
	opening["ceremony"] = c.ID
	r.custody(t, ada, "card-1", "open", opening)
	require.Equal(t, []string{"form_state"}, r.denied(t, "custody.record", human(ada),
		map[string]any{"form": "card-1", "action": "open", "witness": theWitness, "purpose": "x", "ceremony": c.ID}), "not twice without a new serial")
	_, err = r.prepare(t, "custody.record", r.input(t, human(ada), map[string]any{"form": "card-1", "action": "seal", "witness": theWitness, "purpose": "x", "new_serial": "AB-0001", "site": "south", "container": "c"}))
	require.ErrorContains(t, err, "used before")
	require.Equal(t, "re-sealed", r.custody(t, ada, "card-1", "seal", map[string]any{"new_serial": "AB-0002", "site": "south", "container": "safe 7"})["form_state"])
	for _, e := range store.All[people.CustodyEntry](r.View(), custodian.KindCustody) {
		require.Equal(t, people.EntryEffective, e.State)
		require.NotEmpty(t, e.Recorded)
		require.NotEmpty(t, e.Signed)
		require.NotEqual(t, e.Recorded, e.Signed)
	}
	require.Equal(t, people.ShareConfirmed, r.line(t, vaultSet, 1, 1).Status)
}

// theWitness2 enrols a second witness, who holds no share.
func theWitness2(t *testing.T, r *sharesRig) string {
	t.Helper()
	r.enrolPerson(t, "demo-wes", people.RoleWitness)
	return "demo-wes"
}

// TestInvariant04_SealMismatch: a bag that is not what the register says is an incident at once, on one signature; the
// share counts no more on two.
func TestInvariant04_SealMismatch(t *testing.T) {
	for name, found := range map[string]map[string]any{
		"serial": intact("ZZ-9999"), "damaged": {"serial": "AB-0001", "seal": "damaged"}, "missing": {"seal": "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSharesRig(t)
			r.card(t, "card-1", 1, "AB-0001", "north")
			ada := r.line(t, vaultSet, 1, 1).Custodian
			entry := r.log(t, ada, "card-1", "check", found)
			f := row[oversight.Finding](t, r.rig, custodian.KindFinding, r.entryOf(t, entry).Finding)
			require.True(t, f.Open())
			require.Equal(t, oversight.FromIncident, f.Source)
			require.Equal(t, people.ShareConfirmed, r.line(t, vaultSet, 1, 1).Status, "one person alone takes no share out of the quorum")
			require.Contains(t, r.denied(t, "custody.record", human(ada), map[string]any{"form": "card-1", "action": "check", "witness": theWitness, "purpose": "x",
				"serial": "AB-0001", "seal": "intact"}), "suspicion_pending", "nothing covers a suspicion up")
			result := r.signs(t, entry)
			require.Equal(t, "compromised", result["form_state"])
			require.Equal(t, false, result["share_counts"])
			line := r.line(t, vaultSet, 1, 1)
			require.Equal(t, people.ShareLost, line.Status)
			require.True(t, line.Exposed)
		})
	}
}

// TestInvariant12_NoShareIsVoidedByHearsay: two people who hold no share between them, one recording and one signing, open
// an incident about somebody else's share and take nothing out of the quorum.
func TestInvariant12_NoShareIsVoidedByHearsay(t *testing.T) {
	r := newSharesRig(t)
	r.card(t, "card-1", 1, "AB-0001", "north")
	other := r.line(t, vaultSet, 1, 2).Custodian
	entry := r.log(t, other, "card-1", "check", map[string]any{"seal": "missing"})
	result := r.signs(t, entry)
	require.Equal(t, "compromised", result["form_state"])
	require.Equal(t, true, result["share_counts"])
	require.Equal(t, people.ShareConfirmed, r.line(t, vaultSet, 1, 1).Status)
	require.True(t, row[oversight.Finding](t, r.rig, custodian.KindFinding, r.entryOf(t, entry).Finding).Open())
}

func TestInvariant04_SealMismatchOfAToken(t *testing.T) {
	r := newSharesRig(t)
	ada := r.line(t, vaultSet, 1, 1).Custodian
	token := registering(1, "AB-0001", "north")
	token["kind"] = "token"
	r.custody(t, ada, "token-1", "register", token)
	require.Equal(t, true, r.custody(t, ada, "token-1", "lost", nil)["share_counts"], "without its PIN it shows nothing")
	require.Equal(t, people.ShareConfirmed, r.line(t, vaultSet, 1, 1).Status)
}

func TestInvariant01_DisputedEntry(t *testing.T) {
	r := newSharesRig(t)
	ada := r.line(t, vaultSet, 1, 1).Custodian
	entry := r.log(t, ada, "card-1", "register", registering(1, "AB-0001", "north"))
	result := decoded(t, r.run(t, "custody.countersign", human(theWitness), map[string]any{"entry": entry, "digest": r.entryOf(t, entry).Digest, "agree": false, "remark": "I was not there"}))
	require.Equal(t, "disputed", result["entry_state"])
	require.True(t, row[oversight.Finding](t, r.rig, custodian.KindFinding, result["finding"].(string)).Open())
	require.Equal(t, people.FormUnwitnessed, r.form(t, "card-1").State)
	_, err := r.prepare(t, "custody.record", r.input(t, human(ada), map[string]any{"form": "card-1", "action": "register", "witness": theWitness, "purpose": "x", "kind": "paper",
		"set": vaultSet, "epoch": 1, "index": 1, "new_serial": "AB-0001", "site": "north", "container": "c"}))
	require.ErrorContains(t, err, "used before", "the serial stays used")
	r.card(t, "card-1", 1, "AB-0003", "north")
}

// TestInvariant04_NoQuorumAtOneSite: no site holds as many shares as open the set, also where the entries were each
// fine when they were recorded; nobody carries two.
func TestInvariant04_NoQuorumAtOneSite(t *testing.T) {
	r := newSharesRig(t)
	r.card(t, "card-1", 1, "AB-0001", "north")
	holder := func(i int) string { return r.line(t, vaultSet, 1, i).Custodian }
	second := r.log(t, holder(2), "card-2", "register", registering(2, "AB-0002", "north"))
	third := r.log(t, holder(3), "card-3", "register", registering(3, "AB-0003", "north"))
	r.signs(t, second)
	e := r.entryOf(t, third)
	require.Equal(t, []string{"quorum_at_one_site"}, r.denied(t, "custody.countersign", human(theWitness), map[string]any{"entry": third, "digest": e.Digest, "agree": true}))
	r.card(t, "card-3", 3, "AB-0004", "south") // takes the place of what nobody signed
	require.Equal(t, people.EntryReplaced, r.entryOf(t, third).State)
	// by road
	send := map[string]any{"serial": "AB-0001", "seal": "intact", "site": "west", "carrier": "demo-wim"}
	wes := theWitness2(t, r)
	send["witness"] = wes
	r.custody(t, holder(1), "card-1", "send", send)
	require.Equal(t, []string{"two_shares_one_carrier"}, r.denied(t, "custody.record", human(holder(2)), map[string]any{"form": "card-2", "action": "send", "witness": wes, "purpose": "x",
		"serial": "AB-0002", "seal": "intact", "site": "east", "carrier": "demo-wim"}))
}

// TestInvariant01_CustodyKeepsApart: a token and its PIN, and two people of one reporting line; and nobody carries two
// shares, whatever their sets.
func TestInvariant01_CustodyKeepsApart(t *testing.T) {
	r := newSharesRig(t)
	ada := r.line(t, vaultSet, 1, 1).Custodian
	kind := func(of, serial, site, container string) map[string]any {
		p := registering(1, serial, site)
		p["kind"], p["container"] = of, container
		return p
	}
	wes := theWitness2(t, r)
	denied := func(form, action string, params map[string]any) []string {
		p := map[string]any{"form": form, "action": action, "witness": wes, "purpose": "x"}
		maps.Copy(p, params)
		return r.denied(t, "custody.record", human(ada), p)
	}
	r.custody(t, ada, "token-1", "register", kind("token", "AB-0001", "north", "safe 1"))
	require.Equal(t, []string{"pin_with_token"}, denied("pin-1", "register", kind("pin-letter", "AB-0002", "north", "safe 1")))
	r.custody(t, ada, "pin-1", "register", kind("pin-letter", "AB-0002", "north", "safe 2"))
	send := func(serial, carrier string) map[string]any {
		return map[string]any{"serial": serial, "seal": "intact", "site": "west", "carrier": carrier}
	}
	first := send("AB-0001", ada)
	first["witness"] = wes
	r.custody(t, ada, "token-1", "send", first)
	require.Equal(t, []string{"pin_with_token"}, denied("pin-1", "send", send("AB-0002", theWitness)), "also with another carrier")

	other := r.form(t, "token-1") // of another set, carried by the same person
	other.ID, other.Set, other.Kind = "far-1", "elsewhere", people.FormPaper
	r.Put(t, custodian.KindShareForm, other.ID, other)
	gone := r.form(t, "token-1")
	gone.State = people.FormRetired
	r.Put(t, custodian.KindShareForm, gone.ID, gone)
	require.Equal(t, []string{"two_shares_one_carrier"}, denied("pin-1", "send", send("AB-0002", ada)))

	p := row[people.Person](t, r.rig, custodian.KindPerson, wes)
	p.Manager = ada
	r.Put(t, custodian.KindPerson, wes, p)
	require.Equal(t, []string{"same_line"}, denied("pin-1", "check", intact("AB-0002")))
}
