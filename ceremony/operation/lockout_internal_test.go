package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/quorum"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// office is a production instance of eight people: five custodians with a share each of 3 of 5, two of them security
// officers, a key manager, a witness, and an auditor.
type office struct {
	*custodiantest.Custodian
	env Env
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{Custodian: custodiantest.New(t, custodiantest.Options{Mode: custodian.Production})}
	o.env = Env{Custodian: o.Service, Policies: o.Policies}
	for i, id := range custodiantest.People() {
		roles := []people.Role{people.RoleCustodian}
		if i < 2 {
			roles = append(roles, people.RoleSecurityOfficer)
		}
		o.person(t, id, roles...)
		o.Put(t, custodian.KindShare, people.ShareID("root", 1, i+1), people.Share{Set: "root", Epoch: 1, Index: i + 1, Custodian: id,
			Status: people.ShareConfirmed, Commitment: []byte{1}, Sealed: "e30"})
	}
	o.person(t, "demo-fay", people.RoleKeyManager)
	o.person(t, "demo-wes", people.RoleWitness)
	o.person(t, "demo-aud", people.RoleAuditor)
	o.Put(t, custodian.KindShareSet, "root", people.ShareSet{ID: "root", Keystore: custodiantest.KeystoreID, Threshold: 3, Total: 5, Epoch: 1})
	ks, _, err := store.Get[key.Keystore](o.View(), custodian.KindKeystore, custodiantest.KeystoreID)
	require.NoError(t, err)
	ks.ShareSet = "root"
	o.Put(t, custodian.KindKeystore, ks.ID, ks)
	return o
}

func (o *office) person(t *testing.T, id string, roles ...people.Role) {
	t.Helper()
	o.Put(t, custodian.KindPerson, id, people.Person{ID: id, Name: id, Roles: roles, Team: "team-" + id[5:6], Site: "site-" + id[5:6],
		Status: people.StatusActive, ApprovalKeys: []people.Credential{{ID: id, Key: json.RawMessage(`{}`)}}})
}

func (o *office) change(t *testing.T, id string, change func(*people.Person)) {
	t.Helper()
	p, _, err := store.Get[people.Person](o.View(), custodian.KindPerson, id)
	require.NoError(t, err)
	change(p)
	o.Put(t, custodian.KindPerson, id, p)
}

func (o *office) asked() Input {
	return Input{Requester: identity.Principal{Kind: identity.Human, ID: "demo-fay"}, Now: o.Clock.Now(), Instance: o.Instance}
}

// lost is what a change would put out of reach.
func (o *office) lost(t *testing.T, would after) []string {
	t.Helper()
	reasons, err := lockOut(t.Context(), o.env, o.View(), o.asked(), would)
	require.NoError(t, err)
	out := []string{}
	for _, r := range reasons {
		require.Equal(t, "lock_out", r.Code)
		require.NotEmpty(t, r.Remedy)
		what, _, found := strings.Cut(strings.TrimPrefix(r.Message, "afterwards "), " would lack a quorum: ")
		require.True(t, found, r.Message)
		out = append(out, what)
	}
	return out
}

func without(ids ...string) after {
	return after{change: func(p *people.Person) *people.Person {
		for _, id := range ids {
			if p.ID == id {
				return nil
			}
		}
		return p
	}}
}

var peopleAndPolicy = []string{"custodian.add", "custodian.resume", "role.change", "credential.recover", "policy.activate"}

func TestInvariant12_LastSecurityOfficer(t *testing.T) {
	o := newOffice(t)
	require.Empty(t, o.lost(t, after{}))
	require.Empty(t, o.lost(t, without("demo-ada")))
	require.Equal(t, peopleAndPolicy, o.lost(t, without("demo-ada", "demo-ben")))
	demoted := func(p *people.Person) *people.Person {
		if p.Has(people.RoleSecurityOfficer) {
			p.Roles = []people.Role{people.RoleCustodian}
		}
		return p
	}
	require.Equal(t, peopleAndPolicy, o.lost(t, after{change: demoted}), "roles are lost as people are")
	require.Empty(t, o.lost(t, after{change: without("demo-ada", "demo-ben").change,
		added: []*people.Person{{ID: "demo-new", Roles: []people.Role{people.RoleSecurityOfficer}, Team: "new", Site: "new",
			Status: people.StatusActive, ApprovalKeys: []people.Credential{{ID: "new"}}}}}), "a successor makes up for both")
	keyless := func(p *people.Person) *people.Person {
		if p.Has(people.RoleSecurityOfficer) {
			p.ApprovalKeys = []people.Credential{{ID: "old", Revoked: true}}
		}
		return p
	}
	require.Equal(t, peopleAndPolicy, o.lost(t, after{change: keyless}), "who has no key has no voice")
}

func TestInvariant12_SharesKeepActivationAndReissue(t *testing.T) {
	o := newOffice(t)
	shares := []string{"keystore.activate of keystore soft", "shares.reissue of keystore soft", "policy.recover"}
	require.Empty(t, o.lost(t, without("demo-dan", "demo-eve")))
	require.Equal(t, append([]string{"policy.activate"}, shares...), o.lost(t, without("demo-cleo", "demo-dan", "demo-eve")), "three approve a policy")
	require.Equal(t, []string{"credential.recover", shares[1]}, o.lost(t, without("demo-wes")), "only a witness is missing")
	held := func(threshold int, holders ...string) after {
		return after{sets: map[string]quorum.Holding{"root": {Threshold: threshold, Total: threshold + 1, Holders: holders}}}
	}
	require.Empty(t, o.lost(t, held(2, "demo-ada", "demo-ben", "demo-cleo")))
	require.Equal(t, shares, o.lost(t, held(3, "demo-ada", "demo-ben", "demo-fay")), "fay is no custodian")
	o.change(t, "demo-cleo", func(p *people.Person) { p.Roles = append(p.Roles, people.RoleWitness) })
	o.change(t, "demo-wes", func(p *people.Person) { p.Status = people.StatusLeft })
	require.Empty(t, o.lost(t, without("demo-dan")), "cleo attends, three others bring shares")
	require.Equal(t, shares[1:2], o.lost(t, without("demo-dan", "demo-eve")), "who brings a share is no witness")
}

// TestInvariant12_AShortInstanceCanBeMended: what was out of reach already stops no change.
func TestInvariant12_AShortInstanceCanBeMended(t *testing.T) {
	o := newOffice(t)
	o.change(t, "demo-ada", func(p *people.Person) { p.Status = people.StatusLeft })
	o.change(t, "demo-ben", func(p *people.Person) { p.Status = people.StatusLeft })
	require.Empty(t, o.lost(t, without("demo-fay", "demo-aud")), "people and policy can not be changed now: that is held against nobody")
	require.Equal(t, []string{"shares.reissue of keystore soft"}, o.lost(t, without("demo-wes")), "recovery lacked an officer before")
	require.Equal(t, []string{"keystore.activate of keystore soft", "shares.reissue of keystore soft", "policy.recover"}, o.lost(t, without("demo-eve")))
	require.Empty(t, o.lost(t, after{added: []*people.Person{{ID: "demo-new", Status: people.StatusActive}}}))
}

func TestInvariant12_APolicyIsJudgedByItself(t *testing.T) {
	o := newOffice(t)
	stricter := func(operation, change string) *policies.Engine { return engineWith(t, operation, change) }
	require.Empty(t, o.lost(t, after{policies: stricter("custodian.add", `"approvals": 5`)}))
	require.Equal(t, []string{"custodian.add"}, o.lost(t, after{policies: stricter("custodian.add", `"approvals": 7`)}))
	require.Equal(t, []string{"role.change"}, o.lost(t, after{policies: stricter("role.change", `"diversity": {"teams": 9, "sites": 1, "reporting_line": false}`)}))
	require.Equal(t, []string{"policy.activate"}, o.lost(t, after{policies: stricter("policy.activate", `"proposer_roles": ["administrator"]`)}))
	require.Equal(t, []string{"custodian.add"}, o.lost(t, after{policies: stricter("custodian.add", `"class": "X"`)}), "no decision is a refusal")
}

func TestInvariant12_ReportingLines(t *testing.T) {
	o := newOffice(t)
	o.env.Policies = engineWith(t, "custodian.add", `"diversity": {"teams": 1, "sites": 1, "reporting_line": true}`)
	under := after{change: func(p *people.Person) *people.Person {
		if p.ID != "demo-fay" {
			p.Manager = "demo-fay"
		}
		return p
	}}
	require.Empty(t, o.lost(t, under), "ada may ask instead of fay")
	chain := after{change: func(p *people.Person) *people.Person {
		p.Manager = map[string]string{"demo-cleo": "demo-dan", "demo-dan": "demo-eve", "demo-eve": "demo-ada", "demo-ada": "demo-ben"}[p.ID]
		if p.ID == "demo-fay" {
			return nil
		}
		return p
	}}
	require.Empty(t, o.lost(t, chain), "whoever is lowest may ask those above")
}

// TestInvariant12_ALostCallIsNoAnswer: a simulation that could not be finished refuses.
func TestInvariant12_ALostCallIsNoAnswer(t *testing.T) {
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := lockOut(ctx, o.env, o.View(), o.asked(), without("demo-ada", "demo-ben"))
	require.ErrorIs(t, err, context.Canceled)
}

// engineWith is the embedded bundle with one member of an operation's first row set.
func engineWith(t *testing.T, operation, member string) *policies.Engine {
	t.Helper()
	files := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(policies.Bundle(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(policies.Bundle(), name)
		files[name] = &fstest.MapFile{Data: data}
		return err
	}))
	var table map[string][]map[string]any
	require.NoError(t, json.Unmarshal(files["data/operations.json"].Data, &table))
	var set map[string]any
	require.NoError(t, json.Unmarshal(fmt.Appendf(nil, "{%s}", member), &set))
	for k, v := range set {
		table[operation][0][k] = v
	}
	data, err := json.Marshal(table)
	require.NoError(t, err)
	files["data/operations.json"] = &fstest.MapFile{Data: data}
	engine, err := policies.New(t.Context(), policies.Options{Timeout: time.Minute, Bundle: files})
	require.NoError(t, err)
	return engine
}
