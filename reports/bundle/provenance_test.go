package bundle_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/people"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// personRow is the file of somebody's row.
func personRow(id string) string { return "rows/person/" + id + ".json" }

// refused holds program and page to one refusal: of an approval key that is not traced to genesis.
func refused(t *testing.T, page browser, w *fixture.World, file, words string) {
	t.Helper()
	refusedFor(t, page, w, bundle.ErrProvenance, file, words)
}

func refusedFor(t *testing.T, page browser, w *fixture.World, want error, file, words string) {
	t.Helper()
	path := write(t, w, w.Node)
	_, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.Error(t, err)
	requireFault(t, err, want, file)
	require.ErrorContains(t, err, words)
	class, said, _ := page.verify(t, path, w.Trust(t))
	require.Equal(t, "bad", class)
	require.Contains(t, said, file+": "+want.Error())
	require.Contains(t, said, words)
}

// Keys that came by ceremonies are traced over each other back to genesis, and what they sign counts from then on. The
// ceremonies are in a bundle of any later period.
func TestInvariant01_KeysThatCameByCeremonyAreTracedToGenesis(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	t.Run("over each other", func(t *testing.T) { tracedOverEachOther(t, page) })
	t.Run("of before the period", func(t *testing.T) { tracedFromBefore(t, page) })
}

func tracedOverEachOther(t *testing.T, page browser) {
	w := fixture.New(t, custodian.Production)
	w.Admit(t, w.Arrive(t, "custodian.add", "fay", "ada", "boris", "chen"))
	w.Admit(t, w.Arrive(t, "custodian.add", "gus", "fay", "boris", "chen")) // fay asks
	w.Admit(t, w.Arrive(t, "custodian.add", "hal", "ada", "fay", "gus"))    // fay and gus approve
	w.Admit(t, w.Arrive(t, "credential.add", "boris", "ada", "fay", "hal"))
	recovered := w.Arrive(t, "credential.recover", "dana", "efua", "gus", "hal")
	for i := range recovered.Person.ApprovalKeys {
		at := fixture.Now()
		recovered.Person.ApprovalKeys[i].Revoked, recovered.Person.ApprovalKeys[i].RevokedAt = true, &at
	}
	w.Admit(t, recovered)
	path := write(t, w, w.Node)
	res, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.NoError(t, err)
	require.Equal(t, []int{10, 5}, []int{res.Keys, res.KeyCeremonies})
	class, words, checks := page.verify(t, path, w.Trust(t))
	require.Equal(t, "good", class, words)
	for _, s := range []string{"Each of 10 approval keys of 8 people is traced to the genesis file: 5 stand in it, 5 came by 5 ceremonies",
		"Each of 5 people whom the genesis file names has signed it"} {
		require.Contains(t, strings.Join(res.Checked, "\n"), s)
		require.Contains(t, checks, s)
	}
}

// tracedFromBefore holds also where the control plane before the period is not in the bundle, and where somebody wrote to such a
// ceremony's row since, as those do who sign its record.
func tracedFromBefore(t *testing.T, page browser) {
	w := fixture.New(t, custodian.Production)
	first := w.Arrive(t, "custodian.add", "fay", "ada", "boris", "chen")
	w.Admit(t, first)
	w.Admit(t, w.Arrive(t, "custodian.add", "gus", "ada", "boris", "fay"))
	w.PutCeremony(t, first.Ceremony)
	for day := 1; day < 4; day++ {
		w.At(fixture.Now().AddDate(0, 0, day))
		w.Put(t, custodian.KindActivity, "ada", people.Activity{Person: "ada", At: fixture.Now()})
	}
	request := lightest()
	request.From, request.To = fixture.Now().AddDate(0, 0, 2), fixture.Now().AddDate(0, 0, 4)
	src := w.Source(t)
	report, err := reports.Generate(t.Context(), src, request, request.To)
	require.NoError(t, err)
	for _, control := range []int{1000, 10} {
		var b bytes.Buffer
		require.NoError(t, bundle.BuildWithin(t.Context(), &b, src, report, w.Node, control, 1000, 1000))
		path := filepath.Join(t.TempDir(), "evidence.zip")
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
		res, err := bundle.Verify(t.Context(), path, w.Trust(t))
		require.NoError(t, err)
		require.Equal(t, control > 10, res.Complete)
		require.Equal(t, []int{7, 2}, []int{res.Keys, res.KeyCeremonies})
		class, words, _ := page.verify(t, path, w.Trust(t))
		require.Equal(t, "good", class, words)
	}
}

// Somebody with the log key, the node key and the database writes themselves into the register, in every way that looks
// right. Program and page name it in the same words.
func TestInvariant01_VoicesThatNobodyOfGenesisApprovedAreNamed(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	for name, c := range map[string]struct {
		forge func(t *testing.T, w *fixture.World) string // returns the file at fault
		words string
	}{
		"added by no ceremony": {func(t *testing.T, w *fixture.World) string {
			eve := w.Arrive(t, "custodian.add", "eve", "ada").Person
			eve.ApprovalKeys = []people.Credential{w.Arrive(t, "custodian.add", "eve", "ada").Key}
			eve.ApprovalKeys[0].AddedBy = ""
			w.Put(t, custodian.KindPerson, "eve", eve)
			return personRow("eve")
		}, "no entry of the ledger says how it came"},
		"added by a ceremony that is not there": {func(t *testing.T, w *fixture.World) string {
			a := w.Arrive(t, "custodian.add", "eve", "ada", "boris", "chen")
			a.Ceremony["id"] = "cer-else"
			w.Admit(t, a)
			return personRow("eve")
		}, "by which it came, is not in the bundle"},
		"vouches for itself": {func(t *testing.T, w *fixture.World) string {
			a := w.Arrive(t, "custodian.add", "eve", "eve", "eve", "mal")
			w.Admit(t, w.Arrive(t, "custodian.add", "mal", "eve", "eve", "mal"))
			w.Admit(t, a)
			return personRow("mal")
		}, "is the person themselves, or has no key that was traced before"},
		"ring of two": {func(t *testing.T, w *fixture.World) string {
			eve := w.Arrive(t, "custodian.add", "eve", "ada", "mal", "boris")
			mal := w.Arrive(t, "custodian.add", "mal", "ada", "eve", "boris")
			w.Admit(t, eve)
			w.Admit(t, mal)
			return personRow("eve")
		}, "was approved by 1 person whose keys were traced before, at least 2"},
		"one person twice": {func(t *testing.T, w *fixture.World) string {
			w.Admit(t, w.Arrive(t, "custodian.add", "eve", "ada", "boris", "boris"))
			return personRow("eve")
		}, "was approved by 1 person whose keys"},
		"too few": {func(t *testing.T, w *fixture.World) string {
			w.Admit(t, w.Arrive(t, "custodian.add", "eve", "ada", "boris"))
			return personRow("eve")
		}, "was approved by 1 person whose keys"},
		"the requester approves": {func(t *testing.T, w *fixture.World) string {
			w.Admit(t, w.Arrive(t, "custodian.add", "eve", "ada", "ada", "boris"))
			return personRow("eve")
		}, "was approved by 1 person whose keys"},
		"whom it is about approves": {func(t *testing.T, w *fixture.World) string {
			w.Admit(t, w.Arrive(t, "credential.add", "chen", "ada", "boris", "chen"))
			return personRow("chen")
		}, "was approved by 1 person whose keys"},
		"whom it is about asks": {func(t *testing.T, w *fixture.World) string {
			w.Admit(t, w.Arrive(t, "credential.add", "chen", "chen", "boris", "ada"))
			return personRow("chen")
		}, "is the person themselves"},
		"another person's ceremony": {func(t *testing.T, w *fixture.World) string {
			a := w.Arrive(t, "custodian.add", "eve", "ada", "boris", "chen")
			a.Ceremony["params"].(map[string]any)["id"] = "fay"
			w.Admit(t, a)
			return personRow("eve")
		}, "gave another key, or gave it to somebody else"},
		"another key's ceremony": {func(t *testing.T, w *fixture.World) string {
			a := w.Arrive(t, "custodian.add", "eve", "ada", "boris", "chen")
			a.Key.ID, a.Key.Key = swapped2(t, w)
			w.Admit(t, a)
			return personRow("eve")
		}, "gave another key, or gave it to somebody else"},
		"not completed": {func(t *testing.T, w *fixture.World) string {
			a := w.Arrive(t, "custodian.add", "eve", "ada", "boris", "chen")
			a.Ceremony["state"] = "cancelled"
			w.Admit(t, a)
			return personRow("eve")
		}, "is custodian.add, cancelled"},
		"approved something else": {func(t *testing.T, w *fixture.World) string {
			a := w.Arrive(t, "custodian.add", "eve", "ada", "boris", "chen")
			a.Ceremony["operation"] = "credential.add"
			w.Admit(t, a)
			return personRow("eve")
		}, "is credential.add, completed"},
		"key of genesis replaced": {func(t *testing.T, w *fixture.World) string {
			boris := w.History.People[1]
			boris.ApprovalKeys = []people.Credential{w.Arrive(t, "custodian.add", "eve", "ada").Key}
			boris.ApprovalKeys[0].AddedBy, boris.Acknowledgement = "", nil // which his own key signed
			w.Put(t, custodian.KindPerson, "boris", boris)
			return personRow("boris")
		}, "no entry of the ledger says how it came"},
		"key of genesis under another name": {func(t *testing.T, w *fixture.World) string {
			eve := w.Arrive(t, "custodian.add", "eve", "ada").Person
			eve.ApprovalKeys = w.History.People[1].ApprovalKeys
			w.Put(t, custodian.KindPerson, "eve", eve)
			return personRow("eve")
		}, "is also boris's"},
		"dated back": {func(t *testing.T, w *fixture.World) string {
			w.Admit(t, w.Arrive(t, "custodian.add", "fay", "ada", "boris", "chen"))
			row, err := w.Store.View().Get(custodian.KindPerson, "fay")
			require.NoError(t, err)
			fay := *row.Value.(*people.Person)
			fay.ApprovalKeys = []people.Credential{fay.ApprovalKeys[0]}
			fay.ApprovalKeys[0].AddedAt = fixture.Days(1)
			w.Put(t, custodian.KindPerson, "fay", fay)
			return personRow("fay")
		}, "its row says"},
		"signed before it came": {func(t *testing.T, w *fixture.World) string {
			a := w.Arrive(t, "custodian.add", "fay", "ada", "boris", "chen")
			early := fixture.Governed("cer-early", "key.rotate", "cards", fixture.Now(), "efua", "dana", "fay")
			w.Sign(t, w.History, early)
			w.PutCeremony(t, early)
			w.Admit(t, a)
			return "rows/ceremony/cer-early.json"
		}, "signed it before entry"},
	} {
		t.Run(name, func(t *testing.T) {
			w := fixture.New(t, custodian.Production)
			refused(t, page, w, c.forge(t, w), c.words)
		})
	}
}

// swapped2 is a key that nobody approved.
func swapped2(t *testing.T, w *fixture.World) (id string, key []byte) {
	t.Helper()
	a := w.Arrive(t, "custodian.add", "mal", "ada")
	return a.Key.ID, a.Key.Key
}

// What a restore brings back of revocations takes no key's origin away.
func TestKeysRevokedByARestoreStayTraced(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	w.Admit(t, w.Arrive(t, "custodian.add", "fay", "ada", "boris", "chen"))
	w.Admit(t, w.Arrive(t, "custodian.add", "gus", "ada", "boris", "fay"))
	for _, id := range []string{"fay", "boris"} {
		row, err := w.Store.View().Get(custodian.KindPerson, id)
		require.NoError(t, err)
		p := *row.Value.(*people.Person)
		act := backup.Act{Actor: "node:node-1", Ceremony: "recovery-1", At: fixture.Now()}
		applied, err := backup.Restrict(&p, backup.Fact{Kind: "person", ID: id, State: string(people.StatusSuspended)}, act)
		require.NoError(t, err)
		require.Contains(t, applied.What, "approval key revoked")
		w.Put(t, custodian.KindPerson, id, applied.Next)
	}
	res, err := bundle.Verify(t.Context(), write(t, w, w.Node), w.Trust(t))
	require.NoError(t, err)
	require.Equal(t, []int{7, 2}, []int{res.Keys, res.KeyCeremonies})
}

// What people signed of the genesis file is checked by the keys in it, where it was kept, and said to be missing where not.
func TestInvariant01_SignaturesOverTheGenesisFileAreChecked(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	const file = "rows/instance/instance.json"
	begun := func(change func(h *fixture.History, i *custodian.Instance)) *fixture.World {
		return fixture.New(t, custodian.Production, func(h *fixture.History) {
			h.Begun = func(i *custodian.Instance) { change(h, i) }
		})
	}
	for words, change := range map[string]func(h *fixture.History, i *custodian.Instance){
		"1 of 5 people whom the genesis file names have not signed it": func(_ *fixture.History, i *custodian.Instance) {
			i.GenesisSignatures[0] = i.GenesisSignatures[1] // one signed twice
		},
		"is none of those that entry 0 names": func(h *fixture.History, i *custodian.Instance) {
			i.GenesisSignatures[0] = h.Signed(t, "ada", "application/vnd.conclave.genesis+json", map[string]any{"instance": i.ID, "mode": i.Mode, "person": "ada"})
		},
	} {
		refused(t, page, begun(change), file, words)
	}

	w := fixture.New(t, custodian.Production) // an insider takes them away
	w.Instance.GenesisSignatures = nil
	w.Put(t, custodian.KindInstance, custodian.InstanceRow, w.Instance)
	path := write(t, w, w.Node)
	_, err := bundle.Verify(t.Context(), path, w.Trust(t))
	requireFault(t, err, bundle.ErrForeignInstance, file)
	require.ErrorContains(t, err, "it was written again")
	requireAgree(t, "taken away", page, path, w.Trust(t), err)

	w = begun(func(_ *fixture.History, i *custodian.Instance) { i.GenesisSignatures = nil }) // as older programs made it
	path = write(t, w, w.Node)
	res, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.NoError(t, err)
	const said = "That everybody named in the file signed it is NOT shown."
	require.Contains(t, strings.Join(res.Checked, "\n"), said)
	_, words, checks := page.verify(t, path, w.Trust(t))
	require.Contains(t, checks, said, words)
	modeOfTheGenesisFileCounts(t, page)
	oneApprovalIsEnoughForTryingOut(t, page)
}

// One approval is the floor of an instance for trying out, and of no other.
func oneApprovalIsEnoughForTryingOut(t *testing.T, page browser) {
	t.Helper()
	w := fixture.New(t, custodian.Development)
	w.Admit(t, w.Arrive(t, "custodian.add", "fay", "ada", "boris"))
	path := write(t, w, w.Node)
	_, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.NoError(t, err)
	class, words, _ := page.verify(t, path, w.Trust(t))
	require.Equal(t, "good", class, words)
}

// The manifest of a production instance does not call itself one for trying out, with its lower floor.
func modeOfTheGenesisFileCounts(t *testing.T, page browser) {
	t.Helper()
	b := build(t)
	files := unpack(t, b.path)
	for _, name := range []string{"MANIFEST.json", "report.json"} {
		require.Contains(t, string(files[name]), `"mode":"production"`)
		files[name] = bytes.ReplaceAll(files[name], []byte(`"mode":"production"`), []byte(`"mode":"development"`))
	}
	resignCanonical(t, files, b.world.Node)
	path := pack(t, files)
	_, err := bundle.Verify(t.Context(), path, nil)
	requireFault(t, err, bundle.ErrForeignInstance, "rows/instance/instance.json")
	require.ErrorContains(t, err, "the genesis file is of production mode")
	trust := b.world.Trust(t)
	trust.Mode = "development"
	requireAgree(t, "mode", page, path, trust, err)
}

// The page reads a genesis file in the forms in which tools and people write one, and what it cannot read it leaves to the
// program.
func TestPageReadsGenesisFilesAsTheProgramDoes(t *testing.T) {
	t.Parallel()
	page := openPage(t)
	people := func(h *fixture.History, format string) (out string) {
		for _, p := range h.People {
			out += fmt.Sprintf(format, p.ID, p.ApprovalKeys[0].Key)
		}
		return out
	}
	for name, c := range map[string]struct {
		file func(h *fixture.History) string
		read bool
	}{
		"as the template has it": {func(h *fixture.History) string {
			return "# A comment\nversion: 1\nname: \"Demo: \\u00e4\" # name\n\nmode: production\nattestation: {by: ada, at: 2026-01-15T10:00:00Z}\npeople:\n" +
				people(h, "  - id: %s\n    roles: [custodian, 'security-officer']\n    approval_key: %s\n") + "keystores:\n- id: soft\n  share_set:\n    holders:\n    - ada\n    - boris # both\n    note: ''\n"
		}, true},
		"as JSON over lines": {func(h *fixture.History) string {
			return "---\n{\n  \"mode\": \"production\", \"people\": [\n" + people(h, "    {\"id\": \"%s\",\n \"approval_key\":%s},\n") + "  ]}"
		}, true},
		"with an anchor": {func(h *fixture.History) string {
			return "mode: &m production\npeople:\n" + people(h, "  - {id: %s, approval_key: %s}\n")
		}, false},
	} {
		w := fixture.NewBegun(t, custodian.Production, func(_ testing.TB, h *fixture.History, _ custodian.Mode) []byte { return []byte(c.file(h)) })
		path := write(t, w, w.Node)
		_, err := bundle.Verify(t.Context(), path, w.Trust(t))
		require.NoError(t, err, name)
		class, words, _ := page.verify(t, path, w.Trust(t))
		if c.read {
			require.Equal(t, "good", class, name+words)
			continue
		}
		require.Equal(t, "bad", class, name)
		require.Contains(t, words, "this browser cannot check it: the genesis file: line 1")
	}
}
