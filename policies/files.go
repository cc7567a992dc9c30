package policies

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a bundle. Far above what an honest one needs: the one in this program has about 110 files and 120 KiB.
const (
	MaxFiles     = 512
	MaxFileBytes = 256 << 10
	MaxBytes     = 1 << 20 // over all files, tests included
	maxPath      = 128
	// maxNesting bounds brackets within brackets, so that no parser runs out of stack.
	maxNesting = 64
)

// Files are the files of a bundle by their path: rules/, lib/ and data/.
type Files map[string][]byte

// FilesOf reads a bundle from a file system, such as a directory. Anything that is too large, has a strange name
// or holds something other than text is ErrBundle.
func FilesOf(source fs.FS) (Files, error) {
	files := Files{}
	total := 0
	err := fs.WalkDir(source, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%w: reading %s: %w", ErrBundle, name, err)
		}
		if entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("%w: reading %s: %w", ErrBundle, name, err)
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%w: %s is no regular file", ErrBundle, name)
		}
		if total += int(min(info.Size(), MaxBytes+1)); len(files) == MaxFiles || info.Size() > MaxFileBytes || total > MaxBytes {
			return tooLarge(name)
		}
		if files[name], err = fs.ReadFile(source, name); err != nil {
			return fmt.Errorf("%w: reading %s: %w", ErrBundle, name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, files.Check()
}

func tooLarge(name string) error {
	return fmt.Errorf("%w: %s: a bundle holds at most %d files of at most %d bytes each, %d bytes in all", ErrBundle, name, MaxFiles, MaxFileBytes, MaxBytes)
}

// Check refuses what is out of bounds, before anything is parsed.
func (f Files) Check() error {
	if len(f) > MaxFiles {
		return tooLarge(fmt.Sprintf("%d files", len(f)))
	}
	total := 0
	for _, name := range f.Paths() {
		if total += len(f[name]); len(f[name]) > MaxFileBytes || total > MaxBytes {
			return tooLarge(name)
		}
		if !goodPath(name) {
			return fmt.Errorf("%w: path %q; allowed are at most %d lower-case letters, digits, '_', '-', '.' and '/' below rules/, lib/ or data/", ErrBundle, name, maxPath)
		}
		if err := checkText(f[name]); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
		}
	}
	return nil
}

func goodPath(name string) bool {
	top, rest, found := strings.Cut(name, "/")
	return found && rest != "" && len(name) <= maxPath && fs.ValidPath(name) && slices.Contains([]string{"rules", "lib", "data"}, top) &&
		!strings.ContainsFunc(name, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./", r))
		})
}

// checkText: what a reviewer sees is what is there. Direction marks and other invisible characters, and nesting
// that no reader follows, are refused.
func checkText(text []byte) error {
	if !utf8.Valid(text) {
		return fmt.Errorf("not UTF-8")
	}
	for _, r := range string(text) {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return fmt.Errorf("holds the invisible character %U", r)
		}
	}
	if depth := nesting(text); depth > maxNesting {
		return fmt.Errorf("brackets within brackets over %d levels; at most %d are allowed", maxNesting, maxNesting)
	}
	return nil
}

// nesting is the deepest level of brackets outside strings and comments, of Rego as of JSON.
func nesting(text []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			for i++; i < len(text) && text[i] != '"' && text[i] != '\n'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '`':
			for i++; i < len(text) && text[i] != '`'; i++ {
			}
		case '#':
			for i++; i < len(text) && text[i] != '\n'; i++ {
			}
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth--
		}
	}
	return deepest
}

// Paths are the paths in order.
func (f Files) Paths() []string { return slices.Sorted(maps.Keys(f)) }

// Deciding leaves the tests out: exactly what [Files.Digest] covers.
func (f Files) Deciding() Files {
	out := Files{}
	for name, text := range f {
		if !isTest(name) {
			out[name] = text
		}
	}
	return out
}
