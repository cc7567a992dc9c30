package boot_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "conclave"
)

// arrows is who may import whom, by top folder: {migrations, hsm, policies} ← custodian ← {ceremony, reports} ← app.
func arrows() map[string][]string {
	return map[string][]string{
		"migrations": {},
		"hsm":        {},
		"policies":   {},
		"custodian":  {"migrations", "hsm", "policies"},
		"ceremony":   {"migrations", "hsm", "policies", "custodian"},
		"reports":    {"migrations", "hsm", "policies", "custodian"},
		"app":        {"migrations", "hsm", "policies", "custodian", "ceremony", "reports"},
	}
}

// apart are packages inside custodian that know nothing of the database, the hot path or the door.
func apart() []string {
	return []string{"custodian/identity", "custodian/clock", "custodian/key", "custodian/people", "custodian/access", "custodian/ledger",
		"custodian/jwk", "custodian/strictjson", "custodian/dsse", "custodian/oversight"}
}

// reserved says which folders alone may import a library.
func reserved() map[string][]string {
	return map[string][]string{
		"gorm.io/":                              {"custodian/store"},
		"github.com/pressly/goose":              {"custodian/store", "migrations"},
		"github.com/mattn/go-sqlite3":           {"custodian/store"},
		"github.com/jackc/pgx":                  {"custodian/store"},
		"database/sql":                          {"custodian/store", "app/demo"}, // the demo edits a row to show that it is noticed
		"github.com/gin-gonic/gin":              {"app/"},
		"github.com/spf13/cobra":                {"app/"},
		"github.com/knadh/koanf":                {"app/config"},
		"github.com/open-policy-agent/opa":      {"policies"},
		"github.com/hashicorp/vault":            {"ceremony/shamir"},
		"github.com/prometheus/client_golang":   {"app/"},
		"github.com/tink-crypto/tink-go":        {"hsm/keywrap"},
		"codeberg.org/go-pdf/fpdf":              {"app/paper", "reports/render"},
		"github.com/xuri/excelize/v2":           {"reports/render"},
		"github.com/boombuler/barcode":          {"app/paper"},
		"golang.org/x/image":                    {"app/paper", "reports/render"},
		"github.com/miekg/pkcs11":               {"hsm/pkcs11"},
		"github.com/digitorus":                  {"custodian/timestamp"},
		"github.com/sony/gobreaker":             {"hsm/pkcs11", "hsm/group"},
		"github.com/aws/aws-sdk-go-v2":          {"app/objectstore"},
		"github.com/aws/smithy-go":              {"app/objectstore"},
		"github.com/johannesboyne/gofakes3":     {"app/objectstore", "app/cmd/conclave"},
		"math/rand":                             {},
		"github.com/stretchr/testify/mock":      {},
		"github.com/go-playground/validator":    {},
		"golang.org/x/crypto/chacha20poly1305":  {},
		"golang.org/x/crypto/nacl":              {},
		"crypto/sha1":                           {},
		"crypto/md5":                            {},
		"crypto/rc4":                            {},
		"crypto/des":                            {},
		"github.com/hashicorp/go-secure-stdlib": {},
	}
}

type goFile struct {
	path    string // below the root, with slashes
	dir     string
	test    bool
	imports []string
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var out []goFile
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "var" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := goFile{path: filepath.ToSlash(rel), dir: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(name, "_test.go")}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		out = append(out, f)
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, out)
	return out
}

func TestImportsFollowTheArrows(t *testing.T) {
	allowed := arrows()
	for _, f := range goFiles(t) {
		folder, _, _ := strings.Cut(f.path, "/")
		targets, known := allowed[folder]
		if !known {
			t.Errorf("%s: folder %s is not in the house", f.path, folder)
			continue
		}
		for _, imported := range f.imports {
			inside, ok := strings.CutPrefix(imported, module+"/")
			if !ok {
				continue
			}
			target, _, _ := strings.Cut(inside, "/")
			if target != folder && !slices.Contains(targets, target) {
				t.Errorf("%s imports %s: %s may import only itself and %v", f.path, imported, folder, targets)
			}
		}
	}
}

func TestRecordsKnowNoDatabase(t *testing.T) {
	for _, f := range goFiles(t) {
		within := func(dir string) bool { return f.dir == dir || strings.HasPrefix(f.dir, dir+"/") }
		if f.test || !slices.ContainsFunc(apart(), within) {
			continue
		}
		for _, imported := range f.imports {
			inside, ok := strings.CutPrefix(imported, module+"/custodian")
			if !ok {
				continue
			}
			if inside == "" || strings.HasPrefix(inside, "/store") || strings.HasPrefix(inside, "/dek") || strings.HasPrefix(inside, "/custodiantest") {
				t.Errorf("%s imports %s: it has no part in storage, the hot path or the door", f.path, imported)
			}
		}
	}
}

func TestTestHelpersStayInTests(t *testing.T) {
	helpers := []string{"custodian/custodiantest", "custodian/store/storetest", "custodian/timestamp/timestamptest", "hsm/hsmtest", "reports/internal/fixture"}
	for _, f := range goFiles(t) {
		if f.test || slices.ContainsFunc(helpers, func(h string) bool { return strings.HasPrefix(f.dir, h) }) {
			continue
		}
		for _, imported := range f.imports {
			inside := strings.TrimPrefix(imported, module+"/")
			if slices.Contains(helpers, inside) || imported == "testing" {
				t.Errorf("%s imports %s, which belongs in tests", f.path, imported)
			}
		}
	}
}

func TestLibrariesStayWhereTheyBelong(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			for library, folders := range reserved() {
				named := imported == strings.TrimSuffix(library, "/") || strings.HasPrefix(imported, strings.TrimSuffix(library, "/")+"/")
				if !named || f.test && (library == "database/sql" || library == "github.com/mattn/go-sqlite3") {
					continue // tests edit rows by SQL on purpose
				}
				here := slices.ContainsFunc(folders, func(dir string) bool { return strings.HasPrefix(f.dir+"/", strings.TrimSuffix(dir, "/")+"/") })
				if !here {
					t.Errorf("%s imports %s: allowed in %v", f.path, imported, folders)
				}
			}
		}
	}
}

func TestMainIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "app", "cmd", "conclave", "main.go"))
	require.NoError(t, err)
	require.Less(t, strings.Count(string(text), "\n"), 80, "lines of main.go")
}
