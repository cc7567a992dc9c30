package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/group"
	"conclave/policies"
)

// versionParams name one version of a key, and why.
type versionParams struct {
	Key     string `json:"key"`
	Version uint32 `json:"version"`
	Reason  string `json:"reason"`
}

func keyTarget(k *key.Key) Target { return Target{Type: "key", ID: k.ID, GovRevision: k.GovRevision} }

// versionTarget is one version. Its governance revision is the length of its history, which use never
// changes: a scheduled rotation of the key does not void what was approved about another version.
func versionTarget(v *key.Version) Target {
	return Target{Type: "key_version", ID: key.VersionID(v.Key, v.Version), GovRevision: uint64(len(v.History))}
}

func keyQuorum(k *key.Key) policies.QuorumInput {
	return policies.QuorumInput{Target: policies.QuorumTarget{Type: "key", ID: k.ID, Owner: k.Owner, Classifications: []string{string(k.Classification)}}}
}

func keyLine(k *key.Key) Line {
	return Line{Label: "key", After: fmt.Sprintf("%s (%s): %s, %s, owner %s", k.ID, k.Label, k.Classification, k.Environment, k.Owner)}
}

// stateLine shows what happens to one version.
func stateLine(before *key.Version, after string) Line {
	return Line{Label: fmt.Sprintf("version %d", before.Version), Before: string(before.State), After: after}
}

func keyEventTarget(v *key.Version) ledger.Target {
	return ledger.Target{Type: "key", ID: v.Key, Version: v.Version}
}

// putChanged stores changed versions, one entry each of one type, and the key whose governance moved.
func putChanged(a acting, tx *store.Tx, kind string, k *key.Key, changed []*key.Version, detail map[string]any) error {
	k.GovRevision++
	if err := tx.Put(custodian.KindKey, k.ID, k); err != nil {
		return err
	}
	for _, v := range changed {
		d := map[string]any{"state": string(v.State)}
		for name, value := range detail {
			d[name] = value
		}
		if err := a.put(tx, custodian.KindKeyVersion, key.VersionID(v.Key, v.Version), v, a.event(kind, keyEventTarget(v), d)); err != nil {
			return err
		}
	}
	return nil
}

// changedResult says what became of each version.
func changedResult(k *key.Key, changed []*key.Version) Result {
	states := map[string]string{}
	for _, v := range changed {
		states[fmt.Sprint(v.Version)] = string(v.State)
	}
	return result(map[string]any{"key": k.ID, "versions": states})
}

// lifecycle asks policy for the periods of a key.
func lifecycle(ctx context.Context, env Env, in Input, k *key.Key) (policies.LifecycleDecision, error) {
	return env.Policies.Lifecycle(ctx, policies.LifecycleInput{Now: in.Now, Mode: policies.Mode(in.Instance.Mode), Type: string(k.Type),
		Classification: string(k.Classification), OUPDays: k.OUPDays, RUPDays: k.RUPDays, RotateDays: k.RotateDays})
}

// makeMaterial makes a key version inside its keystore.
func makeMaterial(ctx context.Context, env Env, k *key.Key, version uint32, effectID string) (Effect, error) {
	driver, err := Current(env, k.Keystore)
	if err != nil {
		return Effect{}, err
	}
	material, err := driver.Create(ctx, k.ID, version, k.Specification(), effectID)
	if err != nil {
		return Effect{}, fmt.Errorf("making %s in keystore %s: %w", key.VersionID(k.ID, version), k.Keystore, err)
	}
	return Effect{ID: effectID, Material: &material, Data: custodian.Detail(madeIn{k.Keystore})}, nil
}

// madeIn is where an effect made its material: by the time that it is taken back the key may live elsewhere.
type madeIn struct {
	Keystore string `json:"keystore"`
}

// findMaterial finds what makeMaterial made before a crash. A keystore that stores nothing holds none: what
// was not recorded did not happen.
func findMaterial(ctx context.Context, env Env, keystore, effectID string) (Effect, bool, error) {
	driver, err := Current(env, keystore)
	if err != nil {
		return Effect{}, false, err
	}
	material, err := driver.Find(ctx, effectID)
	switch {
	case errors.Is(err, hsm.ErrNotFound):
		return Effect{}, false, nil
	case err != nil:
		return Effect{}, false, fmt.Errorf("looking for effect %s in keystore %s: %w", effectID, keystore, err)
	}
	return Effect{ID: effectID, Material: &material, Data: custodian.Detail(madeIn{keystore})}, true, nil
}

// findMaterialOf is findMaterial for a key that may have moved since the effect: in its keystore, and in those in which it
// lived before.
func findMaterialOf(ctx context.Context, env Env, k *key.Key, effectID string) (Effect, bool, error) {
	view := env.Custodian.View()
	versions, err := versionRows(view, k, 0)
	if err != nil {
		return Effect{}, false, err
	}
	searched := map[string]bool{}
	for _, keystore := range append([]string{k.Keystore}, keystoresOf(versions)...) {
		if searched[keystore] {
			continue
		}
		searched[keystore] = true
		if record, err := keystoreRow(view, "keystore", keystore); err != nil || record.Status != key.KeystoreRegistered {
			continue // what was in a retired one is gone with it
		}
		if effect, found, err := findMaterial(ctx, env, keystore, effectID); found || err != nil {
			return effect, found, err
		}
	}
	return Effect{}, false, nil
}

// keystoresOf are those of versions, the newest first.
func keystoresOf(versions []*key.Version) []string {
	var out []string
	for _, v := range slices.Backward(versions) {
		out = append(out, v.Keystore)
	}
	return out
}

// destroyMaterial takes back material that could not be recorded, from where it was made; keystore where the effect does
// not say.
func destroyMaterial(ctx context.Context, env Env, keystore string, effect Effect) error {
	if effect.Material == nil {
		return nil
	}
	var made madeIn
	if len(effect.Data) > 0 {
		if err := json.Unmarshal(effect.Data, &made); err != nil {
			return fmt.Errorf("reading where effect %s made its key: %w", effect.ID, err)
		}
		keystore = cmp.Or(made.Keystore, keystore)
	}
	driver, err := Current(env, keystore)
	if err != nil {
		return err
	}
	return driver.Destroy(ctx, *effect.Material)
}

// newVersion is the record of material that was just made (T1).
func newVersion(a acting, driver hsm.Keystore, k *key.Key, n uint32, effect Effect, activation time.Time) (*key.Version, error) {
	return newVersionOf(a, driver, k, n, effect, activation, nil)
}

// newVersionOf is newVersion of material that was made elsewhere; nil for generated.
func newVersionOf(a acting, driver hsm.Keystore, k *key.Key, n uint32, effect Effect, activation time.Time, imported *key.Import) (*key.Version, error) {
	if effect.Material == nil {
		return nil, fmt.Errorf("effect %s made no key", effect.ID)
	}
	algorithm, err := sealingAlgorithm(driver, k)
	if err != nil {
		return nil, err
	}
	if activation.Before(a.at) {
		activation = a.at
	}
	bits := k.Specification().StrengthBits()
	if g, ok := driver.(*group.Keystore); ok { // as strong as what it travelled under
		bits = min(bits, g.TransportBits())
	}
	return key.NewVersion(k, n, key.Generation{Material: *effect.Material, Algorithm: algorithm, StrengthBits: bits,
		Facts: driver.Facts(), At: a.at, ActivationAt: activation, Actor: a.principal.String(), Ceremony: a.ceremony, Reason: a.reason, Import: imported})
}

// sealingAlgorithm is how a key that seals does so in its keystore; 0 for keys of another kind.
func sealingAlgorithm(driver hsm.Keystore, k *key.Key) (hsm.Algorithm, error) {
	if k.Specification().Kind() != hsm.Seals {
		return 0, nil
	}
	algorithms := driver.Capabilities().Algorithms
	if len(algorithms) == 0 {
		return 0, fmt.Errorf("keystore %s has no algorithm to seal by: %w", k.Keystore, hsm.ErrUnsupported)
	}
	return algorithms[0], nil
}

// madeDetail is what T1 records (SP 800-57 Part 1 section 7): module, generator, strength, check value; and where
// it was made elsewhere, how it came in.
func madeDetail(v *key.Version) map[string]any {
	detail := map[string]any{"origin": v.Origin(), "module": v.Module, "rng": v.RNG, "strength": v.StrengthBits, "check_value": v.CheckValue, "keystore": v.Keystore,
		"algorithm": v.AlgorithmName(), "specification": v.Specification(), "fips_claim": v.FIPSClaim, "activation_at": v.ActivationAt.Format(time.RFC3339),
		"oup_end": v.OUPEnd.Format(time.RFC3339), "rup_end": v.RUPEnd.Format(time.RFC3339)}
	if v.Import != nil {
		detail["import"] = v.Import
	}
	if len(v.Material.Copies) > 0 {
		members := map[string]string{}
		for _, c := range v.Material.Copies {
			members[c.Member] = c.CheckValue
		}
		detail["members"] = members
	}
	return detail
}

// activationFacts judges what T4 depends on besides the version: placement, and the custodians' duty.
func activationFacts(ctx context.Context, env Env, view *store.View, k *key.Key, in Input) (key.Facts, error) {
	against, err := misplaced(ctx, env, view, k)
	if err != nil {
		return key.Facts{}, err
	}
	record, err := keystoreRow(view, "keystore", k.Keystore)
	if err != nil {
		return key.Facts{}, err
	}
	missing, err := unacknowledged(view, record, in)
	if err != nil {
		return key.Facts{}, err
	}
	return key.Facts{PlacementFits: len(against) == 0, CustodiansAcknowledged: len(missing) == 0}, nil
}

// bringIntoUse activates a version (T4) and makes it the one that protects; versions that protected before
// are deactivated as replaced (T8) and go on processing. A guard that refuses T4 changes nothing.
func bringIntoUse(a acting, tx *store.Tx, k *key.Key, v *key.Version, facts key.Facts) (active *key.Version, err error) {
	if active, err = v.Apply(a.transition("T4"), facts); err != nil {
		return nil, err
	}
	replaced, err := replacedBy(a, tx.View(), k, active)
	if err != nil {
		return nil, err
	}
	if active.Version > k.Current {
		k.Current = active.Version
		if err := tx.Put(custodian.KindKey, k.ID, k); err != nil {
			return nil, err
		}
	}
	e := a.event("key.activate", keyEventTarget(active), map[string]any{"protects": k.Current == active.Version})
	if err := a.put(tx, custodian.KindKeyVersion, key.VersionID(active.Key, active.Version), active, e); err != nil {
		return nil, err
	}
	for _, old := range replaced {
		e := a.event("key.deactivate", keyEventTarget(old), map[string]any{"cause": "replaced", "by_version": active.Version})
		if err := a.put(tx, custodian.KindKeyVersion, key.VersionID(old.Key, old.Version), old, e); err != nil {
			return nil, err
		}
	}
	return active, nil
}

// replacedBy are the versions that a newer active one takes out of protecting, after the change.
func replacedBy(a acting, view *store.View, k *key.Key, active *key.Version) ([]*key.Version, error) {
	versions, err := versionRows(view, k, 0)
	if err != nil {
		return nil, err
	}
	var out []*key.Version
	for _, old := range versions {
		if old.State != key.Active || old.Version >= active.Version {
			continue
		}
		t := a.transition("T8")
		t.Reason = fmt.Sprintf("replaced by version %d", active.Version)
		next, err := old.Apply(t, key.Facts{ReplacementActive: true})
		if err != nil {
			return nil, err
		}
		out = append(out, next)
	}
	return out, nil
}

// describePeriods says how long a version protects and processes.
func describePeriods(oup, rup, rotate int) string {
	parts := []string{"protects " + amount.Of(oup, "day"), "processes " + amount.Of(rup, "day")}
	if rotate > 0 {
		parts = append(parts, "a new version every "+amount.Of(rotate, "day"))
	}
	return strings.Join(parts, ", ")
}

func driverOf(env Env, view *store.View, keystore string) (hsm.Keystore, error) {
	record, err := keystoreRow(view, "keystore", keystore)
	if err != nil {
		return nil, err
	}
	return Driver(env, record)
}

// recordMade stores a version that was just made and, where its date has come and its guards let it, brings
// it into use. A version whose guards refuse meanwhile stays in pre-activation and is taken up by the job.
func recordMade(ctx context.Context, env Env, tx *store.Tx, in Input, kind string, k *key.Key, v *key.Version) (Result, error) {
	out, err := recordVersion(ctx, env, tx, in, kind, k, v, madeDetail(v))
	if err != nil {
		return Result{}, err
	}
	return result(out), nil
}

// recordVersion is recordMade with the detail of its entry; what became of the version is for the caller to tell.
func recordVersion(ctx context.Context, env Env, tx *store.Tx, in Input, kind string, k *key.Key, v *key.Version, detail map[string]any) (map[string]any, error) {
	record, err := keystoreRow(tx.View(), "keystore", v.Keystore)
	if err != nil {
		return nil, err
	}
	driver, err := Driver(env, record)
	if err != nil {
		return nil, err
	}
	if err := underRecord(env, tx.View(), driver, record, &v.Material); err != nil {
		return nil, err
	}
	if record.Status != key.KeystoreRegistered { // retired while it was made
		return nil, fmt.Errorf("keystore %s is %s", record.ID, record.Status)
	}
	a := act(env, tx, in, in.Reason)
	k.Versions = v.Version
	if k.Current == 0 {
		k.Current = v.Version
	}
	if err := tx.Put(custodian.KindKey, k.ID, k); err != nil {
		return nil, err
	}
	if err := a.put(tx, custodian.KindKeyVersion, key.VersionID(k.ID, v.Version), v, a.event(kind, keyEventTarget(v), detail)); err != nil {
		return nil, err
	}
	out := map[string]any{"key": k.ID, "version": v.Version, "state": string(v.State), "check_value": v.CheckValue}
	if v.ActivationAt.After(a.at) {
		return out, nil
	}
	return out, activateNow(ctx, env, tx, a, in, k, v, out)
}

// activateNow brings a version into use whose time has come, and says in out what became of it: what keeps it from being
// active is no reason to lose what was made.
func activateNow(ctx context.Context, env Env, tx *store.Tx, a acting, in Input, k *key.Key, v *key.Version, out map[string]any) error {
	facts, err := activationFacts(ctx, env, tx.View(), k, in)
	if err != nil {
		return err
	}
	active, err := bringIntoUse(a, tx, k, v, facts)
	var refused *key.TransitionError
	if errors.As(err, &refused) {
		out["not_activated"] = refused.Error()
		return nil
	}
	if err != nil {
		return err
	}
	out["state"] = string(active.State)
	return nil
}
