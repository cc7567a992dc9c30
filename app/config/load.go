package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

// MaxFile bounds a configuration file, in bytes.
const MaxFile = 64 << 10

// Sources are the layers above the defaults.
type Sources struct {
	File    string            // path of a YAML file; "" for none
	Environ []string          // "NAME=value", as os.Environ gives them
	Flags   map[string]string // by setting key; only those that were given
}

// Load merges defaults, file, environment and flags, and validates the whole. Errors name the key and where it
// was set.
func Load(src Sources) (*Config, error) {
	layers := []func() (map[string]any, error){
		defaults,
		func() (map[string]any, error) { return fromFile(src.File) },
		func() (map[string]any, error) { return fromEnviron(src.Environ) },
		func() (map[string]any, error) { return fromFlags(src.Flags) },
	}
	k := koanf.New(".")
	for _, layer := range layers {
		values, err := layer()
		if err != nil {
			return nil, err
		}
		if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
			return nil, fmt.Errorf("merging configuration: %w", err)
		}
	}
	c := new(Config)
	strict := &mapstructure.DecoderConfig{Result: c, TagName: "koanf", ErrorUnused: true}
	err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: strict})
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	// Where the process stands may change later; what was meant does not.
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return c, nil
}

func defaults() (map[string]any, error) {
	out := map[string]any{}
	for _, s := range Settings() {
		if s.Default == "" {
			continue
		}
		v, err := s.value(s.Default, "default")
		if err != nil {
			return nil, err
		}
		out[s.Key] = v
	}
	return out, nil
}

func fromFlags(flags map[string]string) (map[string]any, error) {
	out := map[string]any{}
	for key, text := range flags {
		s, ok := find(key)
		if !ok {
			return nil, &Error{Key: key, Source: "flag", Problem: "unknown key", Allowed: keysWithin("")}
		}
		v, err := s.value(text, "flag --"+s.Flag())
		if err != nil {
			return nil, err
		}
		out[key] = v
	}
	return out, nil
}

func fromEnviron(environ []string) (map[string]any, error) {
	known := map[string]Setting{}
	for _, s := range Settings() {
		known[s.Env()] = s
	}
	out := map[string]any{}
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		s, ok := known[name]
		if !ok {
			return nil, &Error{Key: name, Source: "environment", Problem: "unknown variable", Allowed: "those of the table in docs/operations.md"}
		}
		v, err := s.value(text, "environment "+name)
		if err != nil {
			return nil, err
		}
		out[s.Key] = v
	}
	return out, nil
}

func fromFile(path string) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading configuration %s: %w", path, err)
	}
	return Parse(data, path)
}

// Parse reads a configuration file's YAML into values by key. name is how errors call the file.
func Parse(data []byte, name string) (map[string]any, error) {
	source := "file " + name
	if len(data) > MaxFile {
		return nil, &Error{Source: source, Problem: fmt.Sprintf("more than %d bytes", MaxFile), Allowed: fmt.Sprintf("at most %d", MaxFile)}
	}
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil // an empty file sets nothing
	}
	if err != nil {
		return nil, &Error{Source: source, Problem: "not YAML: " + err.Error()}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &Error{Source: source, Problem: "more than one document", Allowed: "one"}
	}
	out := map[string]any{}
	if err := walk(doc.Content[0], "", source, out); err != nil {
		return nil, err
	}
	return out, nil
}

// walk reads one level of the file. The prefix is "" or ends with a dot.
func walk(node *yaml.Node, prefix, source string, out map[string]any) error {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" && prefix == "" {
		return nil // nothing but comments
	}
	if node.Kind != yaml.MappingNode {
		return &Error{Key: strings.TrimSuffix(prefix, "."), Source: at(source, node), Problem: "not a mapping", Allowed: keysWithin(prefix)}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := prefix + name.Value
		if seen[key] {
			return &Error{Key: key, Source: at(source, name), Problem: "given twice", Allowed: "once"}
		}
		seen[key] = true
		if err := one(name, value, key, source, out); err != nil {
			return err
		}
	}
	return nil
}

// one reads a key and what it holds.
func one(name, value *yaml.Node, key, source string, out map[string]any) error {
	prefix := key[:len(key)-len(name.Value)]
	plain := name.Kind == yaml.ScalarNode && !strings.Contains(name.Value, ".")
	if plain && section(key) {
		return walk(value, key+".", source, out)
	}
	s, ok := find(key)
	if !plain || !ok {
		return &Error{Key: clip(key), Source: at(source, name), Problem: "unknown key", Allowed: keysWithin(prefix)}
	}
	if value.Kind != yaml.ScalarNode || value.Tag == "!!null" || !s.fits(value.Tag) {
		return &Error{Key: key, Source: at(source, value), Problem: "not a " + string(s.Kind), Allowed: "a " + string(s.Kind)}
	}
	v, err := s.value(value.Value, at(source, value))
	if err != nil {
		return err
	}
	out[key] = v
	return nil
}

// fits reports whether a YAML value of this tag can be the setting: numbers and truth values are not text.
func (s Setting) fits(tag string) bool {
	switch s.Kind {
	case Boolean:
		return tag == "!!bool"
	case Number:
		return tag == "!!int"
	default:
		return tag == "!!str"
	}
}

func at(source string, node *yaml.Node) string { return fmt.Sprintf("%s, line %d", source, node.Line) }
