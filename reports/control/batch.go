package control

import (
	"bytes"

	"conclave/custodian/ledger"
)

// unreadable: a batch whose list gave way to its digest, of more than one key or version.
func unreadable(e *ledger.Entry) bool {
	return bytes.HasPrefix(e.Detail, []byte(`{"bytes":`)) && (e.Target.ID == "" || e.Target.Version == 0)
}
