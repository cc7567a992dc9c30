package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"conclave/custodian/ledger"
)

// tourFile is for a person's shell: it names the service once, and lets them be one of the cast with a word.
const tourFile = "tour.sh"

// writeTour writes the tour file: POSIX shell, no other tool.
func (d *demo) writeTour(program string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Demonstration data, for your shell: . %s\n", d.shown(tourFile))
	fmt.Fprintf(&b, "export CONCLAVE_URL=%s CONCLAVE_CA=%s CONCLAVE_TRUST=%s\n", quote(d.state.URL), quote(d.state.CA), quote(d.state.TrustFile))
	fmt.Fprintf(&b, "conclave() { %s \"$@\"; }\n\n", quote(program))
	b.WriteString("# as NAME: be that person (key file and passphrase) or program (token) from here on.\nas() {\n")
	b.WriteString("  unset CONCLAVE_KEY_FILE CONCLAVE_PASSPHRASE CONCLAVE_TOKEN\n  case \"$1\" in\n")
	var names []string
	for _, m := range d.state.everybody() {
		short := strings.TrimPrefix(m.ID, "demo-")
		names = append(names, short)
		fmt.Fprintf(&b, "  %s|%s) export CONCLAVE_KEY_FILE=%s CONCLAVE_PASSPHRASE=%s ;;\n", short, m.ID, quote(m.KeyFile), quote(m.Passphrase))
	}
	fmt.Fprintf(&b, "  shop) export CONCLAVE_TOKEN=%s ;;\n", quote(d.state.AppToken))
	fmt.Fprintf(&b, "  auditor) export CONCLAVE_TOKEN=%s ;;\n", quote(d.state.AuditorToken))
	fmt.Fprintf(&b, "  *) echo 'as: give one of %s, shop, auditor' >&2; return 2 ;;\n  esac\n}\n", strings.Join(names, ", "))
	return ledger.WriteFileAtomic(filepath.Join(d.dir, tourFile), []byte(b.String()), 0o600)
}

// quote makes a word of the shell, whatever is in it.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// shown is how a file of the demonstration is named to a person: short from where they stand.
func (d *demo) shown(file string) string {
	path := filepath.Join(d.dir, file)
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	short, err := filepath.Rel(wd, path)
	if err != nil || len(short) >= len(path) {
		return path
	}
	return short
}

// farewell says what can be done now.
func (d *demo) farewell() error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the program's own path: %w", err)
	}
	if err := d.writeTour(program); err != nil {
		return err
	}
	fmt.Fprintf(d.out, `
The service stays up at %s (development mode). Try it from another terminal, in this folder:

  . %s

As a custodian: suspend a key alone, and see that releasing it takes others.
  as ben;  conclave key suspend %[3]s --reason "looks odd"
  as ben;  conclave key resume %[3]s --finding "false alarm"
  as ada;  conclave ceremony list       # then: conclave ceremony approve ID, as ada and as cleo

As an application: encrypt and decrypt a file of any size.
  as shop; conclave encrypt README.md --key %[3]s
  as shop; conclave decrypt README.md.cvf --out -

As an auditor: take evidence and check it without the service.
  as auditor; conclave report --framework pci-dss-4.0.1 --from 2026-01-01 --format bundle -o evidence.zip
  conclave verify evidence.zip
  conclave ledger verify
  and open %[4]s in a browser.

Scripts find all of it in %[5]s; README.md goes on from here.
Ctrl-C ends it, make run goes on, make reset starts over.
`, d.state.URL, d.shown(tourFile), cardKey, d.shown(reportPage), d.shown(stateFile))
	return nil
}
