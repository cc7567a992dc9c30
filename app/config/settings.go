package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// EnvPrefix begins the environment variables of the server. A variable with it that no setting has is an error.
const EnvPrefix = "CONCLAVE_SERVER_"

// Kind is the type of a setting's value.
type Kind string

const (
	Text     Kind = "text"
	Boolean  Kind = "true or false"
	Number   Kind = "whole number"
	Duration Kind = "duration, e.g. 30s"
)

// Setting is one key of the configuration.
type Setting struct {
	Key     string // as in the file, with dots between levels
	Kind    Kind
	Default string
	Help    string
	// Secret settings have no flag: a command line is visible to every user of the machine.
	Secret bool
}

// Env is the setting's environment variable.
func (s Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// Flag is the setting's flag, without dashes.
func (s Setting) Flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(s.Key) }

// Settings is every key that there is, in the order in which they are documented.
func Settings() []Setting {
	return []Setting{
		{Key: "data_dir", Kind: Text, Help: "directory of the instance, which conclave init makes"},
		{Key: "mode", Kind: Text, Help: "production or development: refuse to start when genesis chose the other"},
		{Key: "listen", Kind: Text, Default: "127.0.0.1:8443", Help: "address of the API, TLS 1.3"},
		{Key: "tls.cert", Kind: Text, Help: "PEM file with the server's certificate chain"},
		{Key: "tls.key", Kind: Text, Help: "PEM file with its private key, mode 0600"},
		{Key: "tls.client_ca", Kind: Text, Help: "PEM file: clients are asked for a certificate, and one that is shown must be of these authorities"},
		{Key: "tls.require_client_cert", Kind: Boolean, Default: "false", Help: "with tls.client_ca: clients that show no certificate are not talked to"},
		{Key: "tls.dev_ca", Kind: Boolean, Default: "true", Help: "without tls.cert: make an authority for localhost at first start"},
		{Key: "database.driver", Kind: Text, Default: DriverSQLite, Help: "sqlite or postgres"},
		{Key: "database.dsn", Kind: Text, Help: "sqlite: path (default: conclave.db in data_dir); postgres: URL", Secret: true},
		{Key: "node.id", Kind: Text, Default: "node-1", Help: "this process's enrolled name"},
		{Key: "node.hand_over", Kind: Boolean, Default: "false", Help: "keep activation secrets of software keystores and hand them to nodes whose enrolment allows it"},
		{Key: "log.level", Kind: Text, Default: "info", Help: "debug, info, warn or error"},
		{Key: "log.format", Kind: Text, Default: "text", Help: "text or json, on standard error"},
		{Key: "metrics.listen", Kind: Text, Help: "second, plain HTTP address for /metrics, /healthz and /readyz; none by default"},
		{Key: "limits.connections", Kind: Number, Default: "4096", Help: "connections open at once; more wait"},
		{Key: "limits.application_per_second", Kind: Number, Default: "0", Help: "data-plane calls of one application a second; 0 is unlimited"},
		{Key: "limits.application_burst", Kind: Number, Default: "0", Help: "calls that an application may save up"},
		{Key: "limits.shutdown_grace", Kind: Duration, Default: "15s", Help: "how long a stopping server lets calls finish"},
		{Key: "pkcs11.modules", Kind: Text, Help: "libraries that speak to tokens: name=path, separated by commas; keystores name theirs"},
		{Key: "pkcs11.sessions", Kind: Number, Default: "4", Help: "calls that one token is given at once"},
		{Key: "pkcs11.so_pin_file", Kind: Text, Help: "file with the first PIN of a token's security officer, mode 0600, until keystore.initialise has changed it"},
		{Key: "monitor.rules", Kind: Text, Help: "file with rules that watch the ledger, in place of the program's own"},
		{Key: "monitor.webhook", Kind: Text, Help: "https URL that gets a signed notice of what somebody must look at"},
		{Key: "monitor.webhook_ca", Kind: Text, Help: "PEM file with the authorities trusted there; default those of the machine"},
		{Key: "witness.file", Kind: Text, Help: "file with the witnesses of the ledger: a verifier key and an https URL a line"},
		{Key: "witness.ca", Kind: Text, Help: "PEM file with the authorities trusted there; default those of the machine"},
		{Key: "witness.timestamp_url", Kind: Text, Help: "URL of an RFC 3161 authority that time-stamps a checkpoint every hour"},
		{Key: "witness.timestamp_roots", Kind: Text, Help: "PEM file with whom its certificate must come from"},
		{Key: "export.syslog", Kind: Text, Help: "host:port that gets every ledger entry as RFC 5424 syslog over TLS"},
		{Key: "export.syslog_ca", Kind: Text, Help: "PEM file with the authorities trusted there; default those of the machine"},
		{Key: "export.syslog_cert", Kind: Text, Help: "PEM file with a client certificate for it"},
		{Key: "export.syslog_key", Kind: Text, Help: "PEM file with its private key"},
		{Key: "export.syslog_repeat", Kind: Number, Default: "16384", Help: "entries delivered before that come again on every new connection to it"},
		{Key: "export.file", Kind: Text, Help: "file that gets every ledger entry as a line of OCSF JSON"},
		{Key: "export.http", Kind: Text, Help: "https URL to which ledger entries are posted as lines of OCSF JSON"},
		{Key: "export.http_ca", Kind: Text, Help: "PEM file with the authorities trusted there"},
		{Key: "export.http_token_file", Kind: Text, Help: "file with a bearer token for it"},
		{Key: "export.otlp", Kind: Text, Help: "https URL of an OpenTelemetry collector, ending in /v1/logs"},
		{Key: "export.otlp_ca", Kind: Text, Help: "PEM file with the authorities trusted there"},
		{Key: "export.otlp_token_file", Kind: Text, Help: "file with a bearer token for it"},
		{Key: "s3.region", Kind: Text, Help: "region of an object store with the S3 API that backups may go to; none by default"},
		{Key: "s3.endpoint", Kind: Text, Help: "https URL of the object store (default: AWS's own of the region)"},
		{Key: "s3.credentials_file", Kind: Text, Help: "file with aws_access_key_id and aws_secret_access_key, mode 0600 (default: the environment)"},
		{Key: "s3.ca_file", Kind: Text, Help: "PEM file with the authorities that the endpoint's certificate is verified against (default: the system's)"},
		{Key: "s3.path_style", Kind: Boolean, Default: "false", Help: "name the bucket in the path, not in the host, as most stores but AWS's want it"},
	}
}

// find returns the setting of a key.
func find(key string) (Setting, bool) {
	all := Settings()
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Key == key })
	if i < 0 {
		return Setting{}, false
	}
	return all[i], true
}

// section reports whether a name is a level that holds settings, e.g. "tls".
func section(name string) bool {
	return slices.ContainsFunc(Settings(), func(s Setting) bool { return strings.HasPrefix(s.Key, name+".") })
}

// keysWithin lists what is allowed at one level.
func keysWithin(prefix string) string {
	var names []string
	for _, s := range Settings() {
		rest, ok := strings.CutPrefix(s.Key, prefix)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// value reads text as the setting's type.
func (s Setting) value(text, source string) (any, error) {
	fail := func() error {
		problem := "not of its type"
		if !s.Secret {
			problem = strconv.Quote(clip(text))
		}
		return &Error{Key: s.Key, Source: source, Problem: problem, Allowed: "a " + string(s.Kind)}
	}
	switch s.Kind {
	case Boolean:
		if text != "true" && text != "false" {
			return nil, fail()
		}
		return text == "true", nil
	case Number:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fail()
		}
		return n, nil
	case Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, fail()
		}
		return d, nil
	default:
		return text, nil
	}
}
