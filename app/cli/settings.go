package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// setting is one value of the client's configuration: by flag, environment, file or default, in this order.
type setting struct {
	name, env, initial, help string
}

// Names of the settings; also keys of the configuration file with "_" for "-".
const (
	setURL            = "url"
	setCA             = "ca"
	setClientCert     = "client-cert"
	setClientKey      = "client-key"
	setTrust          = "trust"
	setToken          = "token"
	setTokenFile      = "token-file"
	setKeyFile        = "key-file"
	setPassphraseFile = "passphrase-file"
	setOutput         = "output"
	setStateDir       = "state-dir"
	setConfig         = "client-config"

	envPassphrase = "CONCLAVE_PASSPHRASE"
	maxConfig     = 64 << 10
)

func allSettings() []setting {
	return []setting{
		{setURL, "CONCLAVE_URL", "https://127.0.0.1:8443", "address of the service"},
		{setCA, "CONCLAVE_CA", "", "PEM file of the authority that vouches for the service's certificate"},
		{setClientCert, "CONCLAVE_CLIENT_CERT", "", "PEM file with the certificate to show where the service asks for one"},
		{setClientKey, "CONCLAVE_CLIENT_KEY", "", "PEM file with its private key"},
		{setTrust, "CONCLAVE_TRUST", "", "trust file made at genesis: pins the instance, its log keys and its nodes"},
		{setToken, "CONCLAVE_TOKEN", "", "token of an application or auditor (better: --token-file or the environment)"},
		{setTokenFile, "CONCLAVE_TOKEN_FILE", "", "file that holds the token"},
		{setKeyFile, "CONCLAVE_KEY_FILE", "", "your custodian key file: requests are signed with it"},
		{setPassphraseFile, "CONCLAVE_PASSPHRASE_FILE", "", "file that holds the key file's passphrase; else " + envPassphrase + " or a prompt"},
		{setOutput, "CONCLAVE_OUTPUT", "table", "table, json or yaml"},
		{setStateDir, "CONCLAVE_STATE_DIR", "", "where the highest checkpoint seen is kept"},
	}
}

func addSettings(flags *pflag.FlagSet) {
	for _, s := range allSettings() {
		flags.String(s.name, s.initial, s.help)
	}
	flags.String(setConfig, "", "client configuration file (default: conclave/client.yaml in the user's configuration directory)")
}

// settings are the resolved values by name.
type settings map[string]string

// resolve merges defaults, file, environment and flags, and checks the result.
func resolve(flags *pflag.FlagSet, getenv func(string) string) (settings, error) {
	out := settings{}
	fromFile, err := readConfig(flags, getenv)
	if err != nil {
		return nil, err
	}
	for _, s := range allSettings() {
		out[s.name] = s.initial
		if v, ok := fromFile[s.name]; ok {
			out[s.name] = v
		}
		if v := getenv(s.env); v != "" {
			out[s.name] = v
		}
		if f := flags.Lookup(s.name); f != nil && f.Changed {
			out[s.name] = f.Value.String()
		}
	}
	if !slices.Contains([]string{"table", "json", "yaml"}, out[setOutput]) {
		return nil, usagef("output: %q; allowed: table, json, yaml", out[setOutput])
	}
	if out[setStateDir] == "" {
		if out[setStateDir], err = defaultStateDir(getenv); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// defaultStateDir follows the XDG base directory specification.
func defaultStateDir(getenv func(string) string) (string, error) {
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "conclave"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usagef("state-dir: no home directory to keep it in; give --%s or CONCLAVE_STATE_DIR", setStateDir)
	}
	return filepath.Join(home, ".local", "state", "conclave"), nil
}

// readConfig reads the configuration file. One that was named must be there; the default one may be missing.
func readConfig(flags *pflag.FlagSet, getenv func(string) string) (map[string]string, error) {
	path, named := getenv("CONCLAVE_CLIENT_CONFIG"), true
	if f := flags.Lookup(setConfig); f != nil && f.Changed {
		path = f.Value.String()
	}
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, nil // nowhere to look, nothing named
		}
		path, named = filepath.Join(dir, "conclave", "client.yaml"), false
	}
	data, err := readSmall(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading client configuration: %w", err)
	}
	values, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("client configuration %s: %w", path, err)
	}
	return values, nil
}

// parseConfig reads a flat YAML mapping of known keys to text.
func parseConfig(data []byte) (map[string]string, error) {
	var raw map[string]yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&raw); err != nil {
		if len(bytes.TrimSpace(data)) == 0 {
			return nil, nil
		}
		return nil, err // names line and duplicate key
	}
	out := map[string]string{}
	for key, node := range raw {
		name := strings.ReplaceAll(key, "_", "-")
		known := slices.ContainsFunc(allSettings(), func(s setting) bool { return s.name == name })
		if !known || strings.Contains(key, "-") {
			return nil, fmt.Errorf("%s: unknown key; allowed: %s", key, strings.Join(configKeys(), ", "))
		}
		if node.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("%s: not text; allowed: one line of text", key)
		}
		out[name] = node.Value
	}
	return out, nil
}

func configKeys() []string {
	var keys []string
	for _, s := range allSettings() {
		keys = append(keys, strings.ReplaceAll(s.name, "-", "_"))
	}
	return keys
}
