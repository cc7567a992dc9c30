package monitor_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/monitor"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/follow"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/reports"
	"conclave/reports/control"
)

// world is a custodian whose ledger is watched.
type world struct {
	*custodiantest.Custodian
	watch *monitor.Watch
}

func newWorld(t *testing.T, rules string) *world {
	t.Helper()
	c := custodiantest.New(t, custodiantest.Options{})
	path := ""
	if rules != "" {
		path = filepath.Join(t.TempDir(), "rules.json")
		require.NoError(t, os.WriteFile(path, []byte(rules), 0o600))
	}
	list, err := monitor.LoadRules(path)
	require.NoError(t, err)
	w := &world{c, monitor.NewWatch(c.Store, "node-1", func() string { return "" }, list, slog.New(slog.DiscardHandler))}
	w.look(t)
	return w
}

func (w *world) look(t *testing.T) {
	t.Helper()
	require.NoError(t, follow.New(w.Store, "node-1", w.watch).Run(t.Context()))
}

func (w *world) use(t *testing.T, key string, n int) {
	t.Helper()
	for range n {
		_, _ = w.Use(t.Context(), w.App, custodian.Use{Operation: access.DataKey, Key: key, Bytes: 32}) // refusals are what some tests are about
	}
}

// entries are those of a type, with their details.
func (w *world) entries(t *testing.T, kind string) (found []*ledger.Entry, details []map[string]any) {
	t.Helper()
	require.NoError(t, w.Store.Entries(context.Background(), 0, w.Store.View().Head().Size, func(e *ledger.Entry, _ []byte) error {
		if e.Type == kind {
			var d map[string]any
			require.NoError(t, json.Unmarshal(e.Detail, &d))
			found, details = append(found, e), append(details, d)
		}
		return nil
	}))
	return found, details
}

// An application's first use of a key is told once, whoever watches, and not again after a restart.
func TestFirstUseIsToldOnce(t *testing.T) {
	w := newWorld(t, "")
	w.use(t, custodiantest.KeyID, 3)
	w.look(t)
	w.use(t, custodiantest.KeyID, 3)
	w.watch = monitor.NewWatch(w.Store, "node-1", func() string { return "" }, []monitor.Rule{{ID: "first-use", Title: "first", FirstUse: true}}, slog.New(slog.DiscardHandler))
	w.look(t)
	found, details := w.entries(t, "monitor.alert")
	require.Len(t, found, 1)
	require.Equal(t, ledger.Done, found[0].Outcome, "a notice, no alarm")
	require.Contains(t, details[0]["subject"], custodiantest.KeyID)
	require.Contains(t, details[0]["subject"], custodiantest.ApplicationID)

	w.AddKey(t, "other", key.CardholderData)
	w.AddGrant(t, "other-grant", custodiantest.ApplicationID, "other")
	w.use(t, "other", 1)
	w.look(t)
	found, _ = w.entries(t, "monitor.alert")
	require.Len(t, found, 2)
}

// A roll-out over many keys is no flood: what is too much to be told one by one is told together, and none is lost.
func TestManyFirstUsesAreToldTogether(t *testing.T) {
	w := newWorld(t, "")
	for i := range 25 {
		id := fmt.Sprintf("many-%02d", i)
		w.AddKey(t, id, key.CardholderData)
		w.AddGrant(t, id+"-grant", custodiantest.ApplicationID, id)
		w.use(t, id, 1)
	}
	w.look(t)
	found, details := w.entries(t, "monitor.alert")
	require.Len(t, found, 11)
	require.EqualValues(t, 15, details[10]["count"])
	require.Equal(t, "15 more of other actors or keys", details[10]["subject"])
	require.Less(t, details[10]["first_seq"], details[10]["last_seq"])
	w.look(t)
	found, _ = w.entries(t, "monitor.alert")
	require.Len(t, found, 11)
}

// A burst is told once a window, by its subject, and what is below the count is not.
func TestBurstIsToldOncePerWindow(t *testing.T) {
	w := newWorld(t, `[{"id":"denials","title":"Refusals","operation":"key.use","outcome":"deny","by":["actor"],"count":5,"seconds":300}]`)
	w.use(t, "nope", 4)
	w.look(t)
	found, _ := w.entries(t, "monitor.alert")
	require.Empty(t, found)
	w.use(t, "nope", 4)
	w.look(t)
	found, details := w.entries(t, "monitor.alert")
	require.Len(t, found, 1)
	require.Equal(t, ledger.Failed, found[0].Outcome)
	require.Equal(t, "denials", found[0].Reason)
	require.EqualValues(t, 5, details[0]["count"])
	require.Equal(t, map[string]uint64{"denials": 1}, w.watch.Alerts())
	w.Clock.Advance(301e9)
	w.use(t, "nope", 5)
	w.look(t)
	found, _ = w.entries(t, "monitor.alert")
	require.Len(t, found, 2)
}

func TestRulesAreChecked(t *testing.T) {
	for name, text := range map[string]string{
		"unknown member": `[{"id":"a","title":"x","first_use":true,"more":1}]`,
		"no id":          `[{"title":"x","first_use":true}]`,
		"no title":       `[{"id":"a","first_use":true}]`,
		"twice":          `[{"id":"a","title":"x","first_use":true},{"id":"a","title":"x","first_use":true}]`,
		"no count":       `[{"id":"a","title":"x","by":["actor"],"seconds":5}]`,
		"too long":       `[{"id":"a","title":"x","by":["actor"],"count":1,"seconds":86401}]`,
		"by nothing":     `[{"id":"a","title":"x","count":1,"seconds":5}]`,
		"by what":        `[{"id":"a","title":"x","by":["weather"],"count":1,"seconds":5}]`,
		"outcome":        `[{"id":"a","title":"x","by":["actor"],"count":1,"seconds":5,"outcome":"maybe"}]`,
		"both":           `[{"id":"a","title":"x","first_use":true,"count":1}]`,
		"no JSON":        `no`,
	} {
		path := filepath.Join(t.TempDir(), "rules.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := monitor.LoadRules(path)
		require.ErrorContains(t, err, "rules", name)
	}
}

// The daily run notes every verdict once a day, and tells of one that is another than the day before.
func TestDailyTellsOfChangedVerdicts(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	w := &world{Custodian: c}
	daily := monitor.NewDaily(c.Store, "node-1", func() string { return "" }, c.Clock, func(ctx context.Context) (reports.Source, error) {
		return reports.FromStore(ctx, c.Store)
	})
	require.NoError(t, daily.Run(t.Context()))
	runs, _ := w.entries(t, "monitor.run")
	require.NotEmpty(t, runs)
	require.NoError(t, daily.Run(t.Context()), "not twice a day")
	again, _ := w.entries(t, "monitor.run")
	require.Len(t, again, len(runs))
	changes, _ := w.entries(t, "monitor.verdict")
	require.Empty(t, changes)
	row, _, err := store.Get[oversight.Monitored](c.Store.View(), custodian.KindMonitored, "pci-dss-4.0.1")
	require.NoError(t, err)
	require.NotEmpty(t, row.Verdicts)

	// What the run before found of one control is made another, as if things had changed since.
	var control string
	for id := range row.Verdicts {
		control = id
		break
	}
	changed := *row
	changed.Verdicts = map[string]oversight.ControlVerdict{}
	for id, v := range row.Verdicts {
		changed.Verdicts[id] = v
	}
	changed.Verdicts[control] = oversight.ControlVerdict{Verdict: "earlier", Since: row.RunAt}
	c.Put(t, custodian.KindMonitored, "pci-dss-4.0.1", changed)
	c.Clock.Advance(25 * 3600e9)
	require.NoError(t, daily.Run(t.Context()))
	found, details := w.entries(t, "monitor.verdict")
	now, _, err := store.Get[oversight.Monitored](c.Store.View(), custodian.KindMonitored, "pci-dss-4.0.1")
	require.NoError(t, err)
	ours := 0
	for i, e := range found {
		if e.Target.ID == "pci-dss-4.0.1:"+control {
			ours++
			require.Equal(t, "earlier", details[i]["was"])
			require.Equal(t, now.Verdicts[control].Verdict, details[i]["is"])
		}
	}
	require.Equal(t, 1, ours)
}

// A day is summed up once it is over, and never twice: the range, the counts, the hash of its last entry.
func TestDaysAreSummedUpWholeAndOnce(t *testing.T) {
	w := &world{Custodian: custodiantest.New(t, custodiantest.Options{})}
	days := func(node string) *monitor.Days {
		return monitor.NewDays(w.Store, node, func() string { return "" }, func(ctx context.Context) (reports.Source, error) {
			return reports.FromStore(ctx, w.Store)
		})
	}
	made := func() int {
		found, _ := w.entries(t, "log.day")
		return len(found)
	}
	first := w.Clock.Now().UTC().Format(time.DateOnly)
	w.use(t, custodiantest.KeyID, 2)
	require.NoError(t, days("node-1").Run(t.Context()))
	require.Zero(t, made(), "the day is not over")
	w.Clock.Advance(48 * time.Hour) // with a day without entries
	w.use(t, custodiantest.KeyID, 1)
	var group sync.WaitGroup
	for i := range 4 {
		d := days(fmt.Sprintf("node-%d", i))
		group.Go(func() {
			if err := errors.Join(d.Run(t.Context()), d.Release(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.Equal(t, 2, made())
	d, _, err := store.Get[oversight.LogDay](w.Store.View(), custodian.KindLogDay, first)
	require.NoError(t, err)
	total := 0
	for _, n := range d.Entries {
		total += n
	}
	require.EqualValues(t, total, d.To-d.From)
	require.Equal(t, 2, d.Entries["key.use.datakey"])
	require.Zero(t, d.From)
	raw, _, err := w.Store.EntryAt(t.Context(), d.To-1)
	require.NoError(t, err)
	leaf := ledger.LeafHash(raw)
	require.Equal(t, hex.EncodeToString(leaf[:]), d.Leaf)
	empty, _, err := store.Get[oversight.LogDay](w.Store.View(), custodian.KindLogDay, d.Start().Add(24*time.Hour).Format(time.DateOnly))
	require.NoError(t, err)
	require.Equal(t, empty.From, empty.To)
	require.True(t, empty.Late(empty.Start().Add(49*time.Hour)))

	// What is reviewed leaves memory, and still counts: the days go on behind it.
	reviewed := *empty
	reviewed.Reviewed = &oversight.LogReview{By: "eve", At: w.Clock.Now(), Outcome: oversight.Confirmed, Note: "gone over"}
	w.Put(t, custodian.KindLogDay, reviewed.Day, &reviewed)
	for row := range w.Store.View().List(custodian.KindLogDay) {
		require.Equal(t, first, row.ID, "in memory")
	}
	archived, _, err := store.Get[oversight.LogDay](w.Store.View(), custodian.KindLogDay, reviewed.Day)
	require.NoError(t, err)
	require.Equal(t, "eve", archived.Reviewed.By)
	w.Clock.Advance(24 * time.Hour)
	w.use(t, custodiantest.KeyID, 1)
	require.NoError(t, days("node-1").Run(t.Context()))
	require.Equal(t, 3, made())
	var rows []string
	require.NoError(t, w.Store.View().Walk(t.Context(), custodian.KindLogDay, "", nil, func(r store.Row) error {
		rows = append(rows, r.ID)
		return nil
	}))
	require.Equal(t, []string{first, reviewed.Day, empty.Start().Add(24 * time.Hour).Format(time.DateOnly)}, rows)
}

// Replicas that judge at once, because the lease went from one to the other meanwhile, record one run.
func TestDailyIsRecordedOnceWhoeverJudges(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	w := &world{Custodian: c}
	var together sync.WaitGroup
	together.Add(2)
	var group sync.WaitGroup
	for _, node := range []string{"node-1", "node-2"} {
		var once sync.Once
		daily := monitor.NewDaily(c.Store, node, func() string { return "" }, c.Clock, func(ctx context.Context) (reports.Source, error) {
			var err error
			once.Do(func() { // both are past the lease and the look at the last run
				err = c.Store.Release(ctx, "monitor/daily", node)
				together.Done()
				together.Wait()
			})
			if err != nil {
				return nil, err
			}
			return reports.FromStore(ctx, c.Store)
		})
		group.Go(func() {
			for { // until the other has given the lease back
				ours, err := c.Store.Lease(t.Context(), "monitor/daily", node, 30*time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if ours {
					break
				}
			}
			if err := daily.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	frameworks, err := control.Frameworks()
	require.NoError(t, err)
	runs, _ := w.entries(t, "monitor.run")
	seen := map[string]int{}
	for _, e := range runs {
		seen[e.Target.ID]++
	}
	require.NotEmpty(t, seen)
	for f, n := range seen {
		require.Equal(t, 1, n, f)
	}
	require.LessOrEqual(t, len(seen), len(frameworks))
}
