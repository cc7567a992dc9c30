package keyfile

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode/utf8"

	"conclave/custodian/strictjson"
	"conclave/hsm/secret"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// Passphrase protection. Iterations: OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA512: 210,000 or
// more; a file that asks for more than maxIterations is refused before any is spent.
const (
	iterations    = 210_000
	maxIterations = 1_000_000
	saltBytes     = 16 // NIST SP 800-132 section 5.1: 128 bits or more
)

// MinPassphrase is the least number of characters of a passphrase outside development (PCI DSS 4.0.1,
// 8.3.6); maxPassphrase bounds it in bytes.
const (
	MinPassphrase = 12
	maxPassphrase = 1024
)

// maxFile bounds a key file; two keys take under 2 KiB.
const maxFile = 16 << 10

// File type and content type in the JWE header; the latter is RFC 7517 section 7's.
const (
	fileType    = "conclave-key-file"
	contentType = "jwk-set+json"
)

// Errors of files and passphrases.
var (
	ErrFile            = errors.New("not a key file")
	ErrPassphrase      = errors.New("wrong passphrase, or the file was altered")
	ErrWeakPassphrase  = errors.New("passphrase not allowed")
	ErrExists          = errors.New("file exists and is never overwritten")
	ErrFilePermissions = errors.New("key file is open to others")
)

// SaveOptions of a key file.
type SaveOptions struct {
	// Development marks the file as demonstration data and lifts the rule on the passphrase's length.
	Development bool
}

// fileHeader is the protected header of the file's JWE. Custodian tells whose file it is before the
// passphrase is asked for; it is authenticated with the rest.
type fileHeader struct {
	Alg         string `json:"alg"`
	Enc         string `json:"enc"`
	Typ         string `json:"typ"`
	Cty         string `json:"cty"`
	P2C         int    `json:"p2c"`
	P2S         string `json:"p2s"`
	Custodian   string `json:"custodian"`
	Development bool   `json:"development"`
}

// Save writes the keys to a new file that only its owner may read (mode 0600): JWE compact serialisation
// with PBES2-HS512+A256KW and A256CBC-HS512. The file appears whole or not at all, and is on disk when
// Save returns. ErrExists: there is one already; it is left alone.
func (s *Signer) Save(path string, passphrase *secret.Bytes, options SaveOptions) error {
	if err := CheckPassphrase(passphrase, options.Development); err != nil {
		return err
	}
	plain, err := s.encodeSet()
	if err != nil {
		return err
	}
	defer plain.Wipe()
	var compact string
	err = passphrase.Use(func(phrase []byte) error {
		return plain.Use(func(set []byte) error {
			var err error
			compact, err = encrypt(phrase, set, s.id, options)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("encrypting keys of %s: %w", s.id, err)
	}
	if err := writeNew(path, []byte(compact+"\n")); err != nil {
		return fmt.Errorf("writing key file of %s: %w", s.id, err)
	}
	s.development = options.Development
	return nil
}

func encrypt(phrase, set []byte, id string, options SaveOptions) (string, error) {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails: crypto/rand ends the process instead
	recipient := jose.Recipient{
		Algorithm: jose.PBES2_HS512_A256KW, Key: phrase, PBES2Count: iterations, PBES2Salt: salt,
	}
	headers := (&jose.EncrypterOptions{}).WithType(fileType).WithContentType(contentType).
		WithHeader("custodian", id).WithHeader("development", options.Development)
	encrypter, err := jose.NewEncrypter(jose.A256CBC_HS512, recipient, headers)
	if err != nil {
		return "", err
	}
	object, err := encrypter.Encrypt(set)
	if err != nil {
		return "", err
	}
	return object.CompactSerialize()
}

// Open reads a key file. ErrPassphrase says that the passphrase is not the file's.
func Open(path string, passphrase *secret.Bytes) (*Signer, error) {
	compact, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("opening key file: %w", err)
	}
	s, err := decrypt(compact, passphrase)
	if err != nil {
		return nil, fmt.Errorf("opening key file %s: %w", path, err)
	}
	return s, nil
}

// Owner tells whose key file this is, without a passphrase: what the file claims, proven by Open.
func Owner(path string) (custodian string, development bool, err error) {
	compact, err := read(path)
	if err != nil {
		return "", false, fmt.Errorf("reading key file: %w", err)
	}
	header, err := parseHeader(compact)
	if err != nil {
		return "", false, fmt.Errorf("reading key file %s: %w", path, err)
	}
	return header.Custodian, header.Development, nil
}

func decrypt(compact string, passphrase *secret.Bytes) (*Signer, error) {
	header, err := parseHeader(compact)
	if err != nil {
		return nil, err
	}
	if n := passphrase.Len(); n == 0 || n > maxPassphrase {
		return nil, fmt.Errorf("%w: %d bytes", ErrPassphrase, n)
	}
	object, err := jose.ParseEncryptedCompact(compact,
		[]jose.KeyAlgorithm{jose.PBES2_HS512_A256KW}, []jose.ContentEncryption{jose.A256CBC_HS512})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	var plain []byte
	err = passphrase.Use(func(phrase []byte) error {
		var err error
		plain, err = object.Decrypt(phrase)
		return err
	})
	if errors.Is(err, secret.ErrWiped) {
		return nil, err
	}
	if err != nil {
		return nil, ErrPassphrase
	}
	defer secret.Wipe(plain)
	s, err := decodeSet(header.Custodian, plain)
	if err != nil {
		return nil, err
	}
	s.development = header.Development
	return s, nil
}

func parseHeader(compact string) (fileHeader, error) {
	var header fileHeader
	encoded, _, found := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || !found {
		return header, fmt.Errorf("%w: no JWE in compact serialisation", ErrFile)
	}
	if err := strictjson.Check(raw, maxFile); err != nil {
		return header, fmt.Errorf("%w: header: %w", ErrFile, err)
	}
	if err := json.Unmarshal(raw, &header, json.RejectUnknownMembers(true)); err != nil {
		return header, fmt.Errorf("%w: header: %w", ErrFile, err)
	}
	if header.Typ != fileType || header.Cty != contentType {
		return header, fmt.Errorf("%w: typ %q, cty %q: wanted are %q, %q", ErrFile, header.Typ, header.Cty, fileType, contentType)
	}
	if header.P2C < iterations || header.P2C > maxIterations {
		return header, fmt.Errorf("%w: p2c: %d iterations, allowed are %d to %d", ErrFile, header.P2C, iterations, maxIterations)
	}
	if err := checkID(header.Custodian); err != nil {
		return header, fmt.Errorf("%w: custodian: %w", ErrFile, err)
	}
	return header, nil
}

// CheckPassphrase holds a new passphrase to the rules; development lifts that on its length. ErrWeakPassphrase.
func CheckPassphrase(passphrase *secret.Bytes, development bool) error {
	return passphrase.Use(func(b []byte) error {
		switch characters := utf8.RuneCount(b); {
		case len(b) > maxPassphrase:
			return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrWeakPassphrase, len(b), maxPassphrase)
		case !utf8.Valid(b):
			return fmt.Errorf("%w: not valid UTF-8", ErrWeakPassphrase)
		case characters == 0:
			return fmt.Errorf("%w: empty", ErrWeakPassphrase)
		case characters < MinPassphrase && !development:
			return fmt.Errorf("%w: %d characters, at least %d are needed (PCI DSS 8.3.6)", ErrWeakPassphrase, characters, MinPassphrase)
		}
		return nil
	})
}

// read returns a key file's text after checking that nobody else may read it.
func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return "", fmt.Errorf("%w: %s: wanted is a regular file of at most %d bytes", ErrFile, path, maxFile)
	}
	// Windows has no such bits; its access lists are the directory's.
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return "", fmt.Errorf("%w: %s has mode %04o; run: chmod 600 %s", ErrFilePermissions, path, mode, path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(raw), "\n"), nil
}

// writeNew writes beside the path, syncs, reserves the path and moves the file there. The reservation
// (O_EXCL) is what keeps an existing file; it works on file systems without hard links, as on a stick.
func writeNew(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".keyfile-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeIfThere(temp.Name())) }()
	if _, err := temp.Write(content); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := errors.Join(temp.Sync(), temp.Close()); err != nil {
		return err
	}
	reserved, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrExists, path)
	}
	if err != nil {
		return err
	}
	if err := reserved.Close(); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncDir(dir)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the new name durable, where the system can.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
