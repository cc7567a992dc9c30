package config

import (
	"fmt"
	"path/filepath"
)

// Witness says who outside keeps an eye on the ledger.
type Witness struct {
	File           string `koanf:"file"`
	CA             string `koanf:"ca"`
	TimestampURL   string `koanf:"timestamp_url"`
	TimestampRoots string `koanf:"timestamp_roots"`
}

func (c *Config) checkWitness() *Error {
	w := &c.Witness
	for _, f := range []struct{ key, value string }{{"witness.file", w.File}, {"witness.ca", w.CA}, {"witness.timestamp_roots", w.TimestampRoots}} {
		if f.value != "" && !filepath.IsAbs(f.value) {
			return &Error{Key: f.key, Problem: fmt.Sprintf("%q is no absolute path", clip(f.value)), Allowed: "an absolute path"}
		}
	}
	if (w.TimestampURL == "") != (w.TimestampRoots == "") {
		return &Error{Key: "witness.timestamp_url", Problem: "URL and roots come together, one is missing", Allowed: "both witness.timestamp_url and witness.timestamp_roots, or neither"}
	}
	// What is sent is a hash and what comes back is signed, so that plain HTTP would do; it is held to the others' rule.
	return exportURL("witness.timestamp_url", w.TimestampURL)
}
