package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/app/auth"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

func (s *server) checkpoint(x *exchange) error {
	s.catchUp(x)
	return x.write(http.StatusOK, typeText, s.store.Checkpoint())
}

// maxFrom is how many sizes a caller may name: what it has seen, and what a statement rests on, are two.
const maxFrom = 4

// progress is what every caller asks for who remembers the ledger: the newest checkpoint, and that it continues what
// they saw, in one answer.
func (s *server) progress(x *exchange) error {
	q, err := x.query("from")
	if err != nil {
		return err
	}
	sizes, err := sizesOf(q.Get("from"))
	if err != nil {
		return err
	}
	s.catchUp(x)
	view, note, _ := s.store.Published()
	out := api.Progress{Checkpoint: string(note), Size: view.Head().Size, Proofs: []api.ProgressProof{}}
	for _, from := range sizes {
		if from == 0 || from >= out.Size {
			continue
		}
		hashes, err := s.store.Consistency(x.ctx(), from, out.Size)
		if err != nil {
			return err
		}
		out.Proofs = append(out.Proofs, api.ProgressProof{From: from, Hashes: encodeHashes(hashes)})
	}
	return x.json(http.StatusOK, out)
}

// sizesOf reads a list of sizes of the log.
func sizesOf(text string) ([]uint64, error) {
	if text == "" {
		return nil, nil
	}
	var sizes []uint64
	for one := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(one, 10, 63)
		if err != nil || len(sizes) == maxFrom {
			return nil, &custodian.InputError{Field: "query.from", Problem: fmt.Sprintf("%q", clean(text)), Allowed: fmt.Sprintf("up to %d sizes of the log, separated by commas", maxFrom)}
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// handovers is for everybody, as checkpoints are: whoever pins an earlier log key follows them to the one in force.
func (s *server) handovers(x *exchange) error {
	s.catchUp(x)
	return x.json(http.StatusOK, s.store.LogKeys().Handovers())
}

// catchUp takes over what other replicas committed, so that whoever comes from one of them finds here at least what they
// have seen there. Where the database does not answer what is known is told.
func (s *server) catchUp(x *exchange) {
	if err := s.store.Refresh(x.ctx()); err != nil {
		s.log.Debug("looking for what other replicas committed", "request", x.id, "error", err)
	}
}

// Bounds of one answer with entries.
const (
	maxScanned = 20_000  // entries looked at for a filter
	maxEntries = 3 << 20 // bytes of entries
)

// entryFilter is what GET /v1/ledger/entries selects by; empty fields select everything.
type entryFilter struct{ eventType, actor, target string }

func (f *entryFilter) matches(e *ledger.Entry) bool {
	// A type selects what stands under it as well: "ceremony" every "ceremony.approve".
	typeOK := f.eventType == "" || e.Type == f.eventType || strings.HasPrefix(e.Type, f.eventType+".")
	actorOK := f.actor == "" || e.Actor.ID == f.actor || e.Actor.String() == f.actor
	targetOK := f.target == "" || e.Target.ID == f.target || e.Target.Type+":"+e.Target.ID == f.target || e.Ceremony == f.target
	return typeOK && actorOK && targetOK
}

// errPageFull ends a walk; no handler returns it.
var errPageFull = errors.New("page is full")

func (s *server) entries(x *exchange) error {
	q, err := x.query("from", "to", "type", "actor", "target", "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(q)
	if err != nil {
		return err
	}
	from, to, err := s.entryRange(q)
	if err != nil {
		return err
	}
	if err := x.authorise(readLedger, "ledger", ""); err != nil {
		return err
	}
	filter := entryFilter{q.Get("type"), q.Get("actor"), q.Get("target")}
	out := api.LedgerEntries{Items: []json.RawMessage{}}
	end, scanned, size := to, 0, 0
	err = s.store.Present(x.ctx(), from, to, func(e *ledger.Entry, raw []byte) error {
		matches := filter.matches(e)
		if scanned == maxScanned || matches && (len(out.Items) == limit || size+len(raw) > maxEntries) {
			end, out.Next = e.Seq, cursorFor(strconv.FormatUint(e.Seq, 10))
			return errPageFull
		}
		scanned++
		if matches {
			out.Items, size = append(out.Items, json.RawMessage(append([]byte(nil), raw...))), size+len(raw)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return err
	}
	out.Deleted = s.deletedEntries(from, end)
	return x.json(http.StatusOK, out)
}

// deletedEntries are the runs of entries that hold some of from ≤ seq < to and of which the data plane is gone. Asked for
// after the entries were read, they name whatever was missed.
func (s *server) deletedEntries(from, to uint64) []api.DeletedEntries {
	var out []api.DeletedEntries
	for _, g := range custodian.Deleted(s.door.View(), from, to) {
		out = append(out, api.DeletedEntries{From: g.From, To: g.To, Ceremony: g.DeletedBy})
	}
	return out
}

// entryRange reads from (or the cursor in its place) and to, clipped to the ledger as it is.
func (s *server) entryRange(q url.Values) (from, to uint64, err error) {
	size := s.door.View().Head().Size
	if from, err = number(q, "from", 0, 0, ledger.MaxInteger); err != nil {
		return 0, 0, err
	}
	if to, err = number(q, "to", size, 0, ledger.MaxInteger); err != nil {
		return 0, 0, err
	}
	cursor, err := cursorOf(q)
	if err != nil {
		return 0, 0, err
	}
	if cursor != "" {
		if from, err = strconv.ParseUint(cursor, 10, 53); err != nil {
			return 0, 0, &custodian.InputError{Field: "query.cursor", Problem: "not a cursor of this list", Allowed: "the next of the page before"}
		}
	}
	to = min(to, size)
	return min(from, to), to, nil
}

func (s *server) inclusion(x *exchange) error {
	q, err := x.query("seq", "size")
	if err != nil {
		return err
	}
	head := s.door.View().Head().Size
	size, err := number(q, "size", head, 1, head)
	if err != nil {
		return err
	}
	seq, err := number(q, "seq", 0, 0, size-1)
	if err != nil {
		return err
	}
	proof, err := s.store.Inclusion(x.ctx(), seq, size)
	if err != nil {
		return err
	}
	return x.proof(proof)
}

func (s *server) consistency(x *exchange) error {
	q, err := x.query("from", "to")
	if err != nil {
		return err
	}
	head := s.door.View().Head().Size
	if asked, err := strconv.ParseUint(q.Get("to"), 10, 63); err == nil && asked > head {
		s.catchUp(x)
		head = s.door.View().Head().Size
	}
	to, err := number(q, "to", head, 0, head)
	if err != nil {
		return err
	}
	from, err := number(q, "from", 0, 0, to)
	if err != nil {
		return err
	}
	proof, err := s.store.Consistency(x.ctx(), from, to)
	if err != nil {
		return err
	}
	return x.proof(proof)
}

func (x *exchange) proof(hashes []tlog.Hash) error {
	return x.json(http.StatusOK, api.Proof{Hashes: encodeHashes(hashes)})
}

func encodeHashes(hashes []tlog.Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}

// tile serves the files of a C2SP tlog-tiles log. Tiles of hashes are for everybody, since they say nothing and
// witnesses need them; entry bundles are for whom policy lets read the ledger.
func (s *server) tile(x *exchange) error {
	t, err := parseTilePath(x.c.Param("path"))
	if err != nil {
		return err
	}
	size := s.store.Tree().Size()
	if t.entries {
		if !auth.Present(x.c.Request) {
			_, err := s.cfg.Auth.Authenticate(x.c.Request)
			return err
		}
		if err := x.authorise(readLedger, "ledger", "entries/"+strconv.FormatUint(t.index, 10)); err != nil {
			return err
		}
		if t.index*ledger.TileWidth+uint64(t.width) > size {
			return errNoRoute
		}
		return x.bundle(t)
	}
	tree := s.store.Tree()
	have := tree.Size() >> (ledger.TileHeight * t.level) // complete subtrees of the tile's level
	if t.index*ledger.TileWidth+uint64(t.width) > have {
		return errNoRoute
	}
	var hashes []byte
	if t.index == have/ledger.TileWidth {
		hashes = tree.PartialTile(t.level)
	} else if hashes, err = s.store.ReadTile(x.ctx(), t.level, int64(t.index)); err != nil {
		return err
	}
	if len(hashes) < t.width*tlog.HashSize {
		return fmt.Errorf("tile %d/%d has %d bytes: %w", t.level, t.index, len(hashes), ledger.ErrTileMissing)
	}
	return x.immutable(hashes[:t.width*tlog.HashSize])
}

// bundle serves the entries of one group as a C2SP entry bundle.
func (x *exchange) bundle(t tilePath) error {
	var out []byte
	first := t.index * ledger.TileWidth
	err := x.s.store.ReadEntries(x.ctx(), first, first+uint64(t.width), func(_ uint64, raw []byte) (err error) {
		out, err = ledger.AppendBundle(out, raw)
		return err
	})
	if err != nil {
		return err
	}
	return x.immutable(out)
}

// kept serves the control entries of a full group as an entry bundle: they are what remains of one that was deleted.
func (s *server) kept(x *exchange) error {
	t, err := parseTilePath("/entries" + x.c.Param("path"))
	if err != nil {
		return err
	}
	if err := x.authorise(readLedger, "ledger", "kept/"+strconv.FormatUint(t.index, 10)); err != nil {
		return err
	}
	from, to := t.index*ledger.TileWidth, (t.index+1)*ledger.TileWidth
	if t.width != ledger.TileWidth || to > s.store.Tree().Size() {
		return errNoRoute
	}
	var out []byte
	err = s.store.ControlEntriesIn(x.ctx(), from, to, func(_ *ledger.Entry, raw []byte) (err error) {
		out, err = ledger.AppendBundle(out, raw)
		return err
	})
	if err != nil {
		return err
	}
	if len(out) == 0 {
		return fmt.Errorf("control entries of group %d: %w", t.index, store.ErrNotFound)
	}
	return x.immutable(out)
}

// immutable answers with bytes that never change: private caches may keep them.
func (x *exchange) immutable(b []byte) error {
	x.c.Writer.Header()["Cache-Control"] = []string{"private, max-age=31536000, immutable"}
	return x.write(http.StatusOK, typeBytes, b)
}

// tilePath is a parsed path of C2SP tlog-tiles.
type tilePath struct {
	entries bool
	level   int
	index   uint64
	width   int
}

// parseTilePath reads "/L/N[.p/W]" or "/entries/N[.p/W]", N in groups of three digits of which all but the
// last are marked with x. Only the canonical spelling is accepted. (https://c2sp.org/tlog-tiles)
func parseTilePath(path string) (tilePath, error) {
	const (
		maxPath   = 64
		maxLevel  = 5 // 2^48 entries
		maxGroups = 5 // likewise
	)
	text := strings.TrimPrefix(path, "/")
	t := tilePath{width: ledger.TileWidth}
	bad := fmt.Errorf("tile path: %w", errNoRoute)
	if len(text) > maxPath {
		return t, bad
	}
	level, rest, found := strings.Cut(text, "/")
	if !found {
		return t, bad
	}
	if t.entries = level == "entries"; !t.entries {
		n, err := strconv.ParseUint(level, 10, 8)
		if err != nil || n > maxLevel {
			return t, bad
		}
		t.level = int(n)
	}
	index, width, partial := strings.Cut(rest, ".p/")
	if partial {
		n, err := strconv.ParseUint(width, 10, 8)
		if err != nil || n == 0 {
			return t, bad
		}
		t.width = int(n)
	}
	groups := strings.Split(index, "/")
	if len(groups) > maxGroups {
		return t, bad
	}
	for i, g := range groups {
		n, err := strconv.ParseUint(strings.TrimPrefix(g, "x"), 10, 16)
		if err != nil || n > 999 || strings.HasPrefix(g, "x") != (i < len(groups)-1) {
			return t, bad
		}
		t.index = t.index*1000 + n
	}
	canonical := ledger.TilePath(t.level, t.index, t.width)
	if t.entries {
		canonical = ledger.EntriesPath(t.index, t.width)
	}
	if canonical != "tile/"+text {
		return t, bad
	}
	return t, nil
}
