package ceremony

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
)

// askingLives is how long an asking is left standing (ours): who lives answers within seconds.
const askingLives = time.Hour

// handOverAgain is how long a hand-over that was refused or failed, which is recorded, is left alone (ours).
const handOverAgain = 10 * time.Minute

// HandOver is this node's part in handing activation secrets to nodes whose enrolment allows it: it asks for those that it
// lacks, gives those that it has, and takes what it was given. Every node calls it, every few seconds. Custodians can bring
// their shares all the while.
func (e *Engine) HandOver(ctx context.Context) error {
	e.handing.Lock()
	defer e.handing.Unlock()
	view := e.store.View()
	if bad := view.Tampered(custodian.KindHandOver); len(bad) > 0 {
		return &store.TamperedError{Kind: custodian.KindHandOver, ID: bad[0].ID}
	}
	var errs []error
	for _, h := range store.All[custodian.HandOver](view, custodian.KindHandOver) {
		switch {
		case h.Node == e.door.Node():
			errs = append(errs, e.takeSecret(ctx, h))
		case e.clock.Now().Sub(h.AskedAt) > askingLives: // by a process that is no more: nobody can open the answer
			err := e.endAsking(ctx, h, e.handOverEntry("keystore.hand-over-end", h, ledger.Done, map[string]any{"why": "nobody took it"}))
			if !errors.Is(err, store.ErrNotFound) { // another node was faster
				errs = append(errs, err)
			}
		case h.Sealed == "":
			errs = append(errs, e.giveSecret(ctx, view, h))
		}
	}
	return errors.Join(append(errs, e.askForSecrets(ctx, view))...)
}

// resting says whether a hand-over is left alone for a while, and rest leaves it alone.
func (e *Engine) resting(id string) bool { return e.clock.Elapsed() < e.handOvers[id] }
func (e *Engine) rest(id string)         { e.handOvers[id] = e.clock.Elapsed() + handOverAgain }

// askForSecrets asks for the secrets of keystores that are inactive here, once a process.
func (e *Engine) askForSecrets(ctx context.Context, view *store.View) error {
	self, err := store.Peek[custodian.Node](view, custodian.KindNode, e.door.Node())
	if err != nil || !self.HandOver || self.Revoked() {
		return nil // a row that is not to be believed allows nothing
	}
	var errs []error
	for _, record := range store.All[key.Keystore](view, custodian.KindKeystore) {
		id := custodian.HandOverID(self.ID, record.ID)
		driver, err := e.door.Keystore(record.ID)
		if _, conveys := driver.(hsm.Conveyor); err != nil || !conveys || driver.Active() || record.Status != key.KeystoreRegistered || e.resting(id) {
			continue
		}
		if asked, err := store.Peek[custodian.HandOver](view, custodian.KindHandOver, id); err == nil && asked.Boot == e.boot {
			continue
		}
		collector, err := e.Collector(ctx)
		if err != nil {
			return err
		}
		_, err = e.store.Control(ctx, func(tx *store.Tx) error {
			h := custodian.HandOver{Node: self.ID, Keystore: record.ID, Boot: e.boot, Collector: collector, AskedAt: tx.Now()}
			if err := tx.Put(custodian.KindHandOver, id, h); err != nil {
				return err
			}
			return tx.Append(e.handOverEntry("keystore.hand-over-ask", &h, ledger.Done, map[string]any{"boot": e.boot}))
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (e *Engine) handOverEntry(event string, h *custodian.HandOver, outcome ledger.Outcome, detail map[string]any) ledger.Entry {
	detail["node"] = h.Node
	entry := ledger.Entry{Type: event, Actor: e.self(), Target: ledger.Target{Type: "keystore", ID: h.Keystore}, Outcome: outcome,
		Policy: e.door.Mark(), Ceremony: h.Ceremony, Detail: custodian.Detail(detail)}
	ledger.ShrinkDetail(&entry)
	return entry
}

// giveSecret answers a node that asks, where the keystore is active here and told to give its secret.
func (e *Engine) giveSecret(ctx context.Context, view *store.View, h *custodian.HandOver) error {
	asking := custodian.HandOverID(h.Node, h.Keystore) + "/" + h.Boot
	node, err := store.Peek[custodian.Node](view, custodian.KindNode, h.Node)
	if err != nil || !node.HandOver || node.Revoked() || e.resting(asking) || e.ClockProblem() != "" || !e.conveys(h.Keystore) {
		return nil
	}
	params, err := json.Marshal(map[string]string{"node": h.Node, "keystore": h.Keystore, "boot": h.Boot}, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encoding the hand-over to %q: %w", h.Node, err)
	}
	e.rest(asking)
	_, once, err := e.Propose(ctx, e.self(), Proposal{Operation: "keystore.hand-over", Params: params, Reason: "the node asks for it, and its enrolment allows it"})
	wipe(once)
	if err != nil {
		return fmt.Errorf("handing the secret of keystore %s to node %s: %w", h.Keystore, h.Node, err)
	}
	e.log.Info("an activation secret was handed to another node", "keystore", h.Keystore, "node", h.Node)
	return nil
}

// conveys: the keystore is active here, and its driver was told to give its secret.
func (e *Engine) conveys(keystore string) bool {
	driver, err := e.door.Keystore(keystore)
	conveyor, ok := driver.(hsm.Conveyor)
	if err != nil || !ok {
		return false
	}
	value, err := conveyor.Convey()
	if err != nil {
		return false
	}
	value.Wipe()
	return true
}

// takeSecret activates the keystore with what this process was given, and ends the asking. What was asked by a process
// before this one, or is no longer needed, is ended too.
func (e *Engine) takeSecret(ctx context.Context, h *custodian.HandOver) error {
	id := custodian.HandOverID(h.Node, h.Keystore)
	driver, err := e.door.Keystore(h.Keystore)
	if err != nil {
		return nil // not this process's to open, or not yet
	}
	switch {
	case driver.Active():
		return e.endAsking(ctx, h, e.handOverEntry("keystore.hand-over-end", h, ledger.Done, map[string]any{"why": "the keystore is active"}))
	case h.Boot != e.boot: // asked anew in place of it
		return nil
	case h.Sealed == "":
		return nil
	}
	value, err := e.collector.OpenValue(operation.SecretType, h.Sealed, operation.MaxSealedSecret)
	if err == nil {
		err = e.activateWith(ctx, driver, h, value)
		value.Wipe()
	}
	if err == nil || errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	e.rest(id)
	return errors.Join(fmt.Errorf("taking the secret of keystore %s from node %s: %w", h.Keystore, h.By, err),
		e.endAsking(ctx, h, e.handOverEntry("keystore.hand-over-end", h, ledger.Failed, map[string]any{"why": err.Error(), "by": h.By})))
}

// activateWith activates the keystore and records it. What can not be recorded is taken back.
func (e *Engine) activateWith(ctx context.Context, driver hsm.Keystore, h *custodian.HandOver, value *secret.Bytes) error {
	if err := driver.Activate(ctx, value); err != nil {
		return err
	}
	facts := driver.Facts()
	err := e.endAsking(ctx, h, e.handOverEntry("keystore.activate", h, ledger.Done, map[string]any{"by": h.By, "module": facts.Module,
		"rng": facts.RNG, "fips_claim": key.FIPSClaim(facts), "hand_over": h.Ceremony}))
	if err != nil {
		return errors.Join(err, driver.Deactivate(context.WithoutCancel(ctx)))
	}
	e.log.Info("keystore is active: another node handed its secret over", "keystore", h.Keystore, "by", h.By, "ceremony", h.Ceremony)
	return nil
}

// endAsking deletes the row, sealed secret and all, under the entry that says how it ended.
func (e *Engine) endAsking(ctx context.Context, h *custodian.HandOver, entry ledger.Entry) error {
	_, err := e.store.Control(ctx, func(tx *store.Tx) error {
		if err := tx.Delete(custodian.KindHandOver, custodian.HandOverID(h.Node, h.Keystore)); err != nil {
			return err
		}
		return tx.Append(entry)
	})
	return err
}
