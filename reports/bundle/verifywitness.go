package bundle

import (
	"context"
	"fmt"
	"strings"
	"time"

	"conclave/custodian/ledger"
	"conclave/custodian/timestamp"
)

// witnessed checks what machines outside said of the log, by the keys that the trust file names: that the log continues
// what they saw, and that they said so.
func (v *verifier) witnessed(ctx context.Context) error {
	var keys []*ledger.WitnessKey
	var err error
	if v.trust != nil {
		if keys, err = v.trust.WitnessKeyList(); err != nil {
			return fmt.Errorf("reading the trust file: %w", err)
		}
	}
	count := 0
	for _, f := range v.manifest.Files {
		if strings.HasPrefix(f.Path, folderWitnessed) && strings.HasSuffix(f.Path, ".note") {
			count++
		}
	}
	for i := range count {
		if err := v.cosigned(packed(folderWitnessed, i, "note"), packed(folderWitnessed, i, "hashes"), keys); err != nil {
			return err
		}
	}
	if len(keys) > 0 && v.result.Witnesses == 0 {
		v.say("The trust file names %d witnesses; the bundle holds no cosignature of any: that others saw the same ledger is NOT shown.", len(keys))
	}
	return v.stamped(ctx)
}

// cosigned checks one checkpoint that a witness signed.
func (v *verifier) cosigned(file, proof string, keys []*ledger.WitnessKey) error {
	head, note, err := v.continuing(file, proof, v.head)
	if err != nil {
		return err
	}
	found, err := ledger.Cosignatures(note, keys)
	if err != nil {
		return fault(file, fmt.Errorf("%w: %w", ErrWitness, err))
	}
	if len(found) == 0 {
		v.say("A checkpoint of %d entries, which the log continues, bears cosignatures of nobody whom a trust file names: they were not checked.", head.Size)
		return nil
	}
	for _, c := range found {
		v.result.Witnesses++
		v.say("Witness %s signed on %s that it saw the checkpoint of %d entries and none that contradicts it; the log continues it.", clip(c.Witness), c.At.Format(time.RFC3339), head.Size)
	}
	return nil
}

// stamped checks the time-stamp, where there is one.
func (v *verifier) stamped(context.Context) error {
	if v.archive.files[fileStamp] == nil {
		return nil
	}
	head, note, err := v.continuing(fileStamped, fileStampedProof, v.head)
	if err != nil {
		return err
	}
	token, err := v.archive.read(fileStamp)
	if err != nil {
		return err
	}
	if v.trust == nil || len(v.trust.TimestampRoots) == 0 {
		v.say("A time-stamp of the checkpoint of %d entries is there; without timestamp_roots in a trust file it was not checked.", head.Size)
		return nil
	}
	roots, err := v.trust.TimestampPool()
	if err != nil {
		return fmt.Errorf("reading the trust file: %w", err)
	}
	at, err := timestamp.Check(token, note, roots)
	if err != nil {
		return fault(fileStamp, fmt.Errorf("%w: %w", ErrWitness, err))
	}
	v.say("A time-stamping authority of the trust file says that the checkpoint of %d entries existed on %s (RFC 3161); the log continues it.", head.Size, at.Format(time.RFC3339))
	return nil
}
