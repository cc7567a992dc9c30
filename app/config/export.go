package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
)

// maxSyslogRepeat bounds what comes again on every new connection to a syslog receiver (ours).
const maxSyslogRepeat = 1_000_000

// Export says where the ledger's entries are delivered to, besides the ledger.
type Export struct {
	Syslog        string `koanf:"syslog"`
	SyslogCA      string `koanf:"syslog_ca"`
	SyslogCert    string `koanf:"syslog_cert"`
	SyslogKey     string `koanf:"syslog_key"`
	SyslogRepeat  int    `koanf:"syslog_repeat"`
	File          string `koanf:"file"`
	HTTP          string `koanf:"http"`
	HTTPCA        string `koanf:"http_ca"`
	HTTPTokenFile string `koanf:"http_token_file"`
	OTLP          string `koanf:"otlp"`
	OTLPCA        string `koanf:"otlp_ca"`
	OTLPTokenFile string `koanf:"otlp_token_file"`
}

func (c *Config) checkExport() *Error {
	e := &c.Export
	for _, f := range []struct{ key, value string }{
		{"export.syslog_ca", e.SyslogCA}, {"export.syslog_cert", e.SyslogCert}, {"export.syslog_key", e.SyslogKey}, {"export.file", e.File},
		{"export.http_ca", e.HTTPCA}, {"export.http_token_file", e.HTTPTokenFile}, {"export.otlp_ca", e.OTLPCA}, {"export.otlp_token_file", e.OTLPTokenFile},
	} {
		if f.value != "" && !filepath.IsAbs(f.value) {
			return &Error{Key: f.key, Problem: fmt.Sprintf("%q is no absolute path", clip(f.value)), Allowed: "an absolute path"}
		}
	}
	if (e.SyslogCert == "") != (e.SyslogKey == "") {
		return &Error{Key: "export.syslog_cert", Problem: "certificate and key come together, one is missing", Allowed: "both export.syslog_cert and export.syslog_key, or neither"}
	}
	if e.SyslogRepeat < 0 || e.SyslogRepeat > maxSyslogRepeat {
		return &Error{Key: "export.syslog_repeat", Problem: fmt.Sprintf("%d is out of range", e.SyslogRepeat), Allowed: fmt.Sprintf("0 to %d entries", maxSyslogRepeat)}
	}
	if err := address("export.syslog", e.Syslog, true); err != nil {
		return err
	}
	if err := exportURL("export.http", e.HTTP); err != nil {
		return err
	}
	return exportURL("export.otlp", e.OTLP)
}

// exportURL lets evidence leave the machine over TLS only.
func exportURL(key, value string) *Error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	good := err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
	if !good {
		return &Error{Key: key, Problem: fmt.Sprintf("%q is no such URL", clip(value)), Allowed: "an https URL without user name; http to this machine's own loopback address only"}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
