package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"conclave/app/api"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Operations that policy knows for reads.
const (
	readKeys         = "key.read"
	readKeystores    = "keystore.read"
	readPeople       = "people.read"
	readApplications = "application.read"
	readCeremonies   = "ceremony.read"
	readOversight    = "oversight.read"
	readStatus       = "status.read"
	readPolicy       = "policy.read"
	readLedger       = "ledger.read"
	createReport     = "report.create"
	explainDecision  = "decision.explain"
	executeCeremony  = "ceremony.execute"
)

// authorise has a read judged and recorded.
func (x *exchange) authorise(operation, targetType, targetID string) error {
	return x.s.door.Read(x.ctx(), x.who, operation, ledger.Target{Type: targetType, ID: clean(targetID)})
}

// authoriseKeys judges a read of keys. Applications read the keys that they have a grant on and are judged
// as callers only: which keys those are is for granted to say.
func (x *exchange) authoriseKeys(id string) error {
	if x.who.Kind == identity.Application {
		return x.authorise(readStatus, "key", id)
	}
	return x.authorise(readKeys, "key", id)
}

// granted returns which keys the caller may know of: all, or for an application those with a grant in force.
func (x *exchange) granted(view *store.View) func(id string) bool {
	if x.who.Kind != identity.Application {
		return func(string) bool { return true }
	}
	now := x.s.clock.Now()
	keys := make(map[string]bool)
	for _, g := range store.All[access.Grant](view, custodian.KindGrant) {
		if g.Application == x.who.ID && g.RevokedAt == nil && now.Before(g.ExpiresAt) {
			keys[g.Key] = true
		}
	}
	return func(id string) bool { return keys[id] }
}

func (s *server) listKeys(x *exchange) error {
	if err := x.authoriseKeys(""); err != nil {
		return err
	}
	may := x.granted(s.door.View())
	return page(x, custodian.KindKey, func(view *store.View, k *key.Key) (api.Key, bool) {
		if !may(k.ID) {
			return api.Key{}, false
		}
		return keyOf(view, k), true
	})
}

// findKey authorises and reads one key. A key that the caller has no grant on is not found: whether it
// exists is nobody else's business.
func (x *exchange) findKey() (*store.View, *key.Key, error) {
	id := x.c.Param("key")
	if err := x.authoriseKeys(id); err != nil {
		return nil, nil, err
	}
	view := x.s.door.View()
	if !x.granted(view)(id) {
		return nil, nil, fmt.Errorf("key: %w", store.ErrNotFound)
	}
	k, _, err := store.Get[key.Key](view, custodian.KindKey, id)
	return view, k, err
}

func (s *server) getKey(x *exchange) error {
	view, k, err := x.findKey()
	if err != nil {
		return err
	}
	out := keyOf(view, k)
	// The state of the current version changes by schedule too, which is no governed change: it is part of the tag.
	tag := `"` + strconv.FormatUint(k.GovRevision, 10) + "-" + strconv.FormatUint(uint64(k.Current), 10) + "-" + out.State + `"`
	x.c.Writer.Header()["Etag"] = []string{tag}
	if x.c.GetHeader("If-None-Match") == tag {
		x.c.Writer.WriteHeader(http.StatusNotModified)
		return nil
	}
	return x.json(http.StatusOK, out)
}

func keyOf(view *store.View, k *key.Key) api.Key {
	out := api.Key{
		ID: k.ID, Label: k.Label, Type: string(k.Type), Algorithm: string(k.Specification()), Classification: string(k.Classification), Impact: string(k.Impact),
		Frameworks: k.Frameworks, Jurisdiction: k.Jurisdiction, Environment: k.Environment, Owner: k.Owner, Keystore: k.Keystore,
		Current: k.Current, Versions: k.Versions, CreatedAt: k.CreatedAt, CreatedBy: k.CreatedBy, GovRevision: k.GovRevision,
	}
	if v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(k.ID, k.Current)); err == nil {
		out.State, out.OUPEnd, out.Origin = string(v.State), v.OUPEnd, v.Origin()
	} else {
		out.State, out.Origin = "unknown", k.Origin // there is none yet, or its record is not to be believed
	}
	return out
}

func (s *server) listVersions(x *exchange) error {
	view, k, err := x.findKey()
	if err != nil {
		return err
	}
	out := api.Page[api.Version]{Items: []api.Version{}}
	var copies *custodian.CopyRegister // once for all versions
	for n := uint32(1); n <= k.Versions; n++ {
		v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(k.ID, n))
		if err != nil {
			return fmt.Errorf("reading version %d: %w", n, err)
		}
		item := versionOf(v)
		item.Members, item.Lacking = membersOf(view, v)
		if v.State == key.Destroyed {
			if copies == nil {
				copies = custodian.Copies(view)
			}
			item.Copies = copies.Left(v)
		} else {
			item.CountsAsCompromised = operation.ExposedBy(view, v) != nil
		}
		out.Items = append(out.Items, item)
	}
	return x.json(http.StatusOK, out)
}

func versionOf(v *key.Version) api.Version {
	out := api.Version{
		Version: v.Version, State: string(v.State), Keystore: v.Keystore, CheckValue: v.CheckValue, Origin: v.Origin(), Import: importOf(v.Import), Algorithm: v.AlgorithmName(),
		StrengthBits: v.StrengthBits, FIPSClaim: v.FIPSClaim, GeneratedAt: v.GeneratedAt, ActivationAt: v.ActivationAt,
		OUPEnd: v.OUPEnd, RUPEnd: v.RUPEnd, History: []api.Transition{},
	}
	for _, t := range v.History {
		out.History = append(out.History, api.Transition{ID: t.ID, From: string(t.From), To: string(t.To), At: t.At,
			Actor: t.Actor, Ceremony: t.Ceremony, Reason: t.Reason})
	}
	return out
}

// timeOf is a pointer to a time for members that are left out when there is none.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
