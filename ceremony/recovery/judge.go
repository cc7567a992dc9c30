package recovery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/ledger"
)

// Judgement is a recovery that was found good.
type Judgement struct {
	Opened   *Opened
	Quorum   Quorum
	Recovery *ledger.Recovery
	Report   *ledger.VerifyReport
}

// JudgeLedger verifies a whole recovered ledger, that a recovery stands in it and explains every known head that it does
// not contain, and that a quorum of the people whom the ledger knew before it signed exactly that. document is the
// recovery's row, doc what it says. Whether the recovery is accepted is for a person to say, who has been shown it.
func JudgeLedger(ctx context.Context, in ledger.VerifyInput, doc *backup.Recovery, document []byte) (*Judgement, error) {
	sum := sha256.Sum256(document)
	in.Accepted = append(slices.Clone(in.Accepted), ledger.Recovery{Seq: doc.Size, ID: doc.ID, Document: hex.EncodeToString(sum[:])})
	rows := map[string][32]byte{}
	in.Observe = func(e *ledger.Entry) error {
		for _, r := range e.Rows {
			if e.Seq < doc.Size && (r.Kind == string(custodian.KindPerson) || r.Kind == string(custodian.KindShare)) {
				rows[r.Kind+"\x00"+r.ID] = r.Hash
			}
		}
		return nil
	}
	out := &Judgement{}
	var err error
	if out.Report, err = ledger.Verify(ctx, in); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(out.Report.Recoveries, func(r *ledger.Recovery) bool { return r.Seq == doc.Size && r.ID == doc.ID && r.Bound(document) })
	if i < 0 {
		return nil, fmt.Errorf("the ledger tells of no recovery %s with this document", doc.ID)
	}
	out.Recovery = out.Report.Recoveries[i]
	out.Opened, out.Quorum, err = VerifyDocument(doc, in.Trust, func(kind, id string, body []byte) bool {
		hash, known := rows[kind+"\x00"+id]
		return known && hash == sha256.Sum256(body)
	})
	if err != nil {
		return nil, err
	}
	if !slices.Equal(out.Opened.Known, out.Recovery.Lost) {
		return nil, errors.New("the ledger names other lost checkpoints than people approved")
	}
	return out, nil
}
