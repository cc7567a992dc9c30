package config

import (
	"fmt"
	"net/url"
	"path/filepath"
)

// S3 says which object store backups may go to, and as whom.
type S3 struct {
	Endpoint        string `koanf:"endpoint"`
	Region          string `koanf:"region"`
	CredentialsFile string `koanf:"credentials_file"`
	CAFile          string `koanf:"ca_file"`
	PathStyle       bool   `koanf:"path_style"`
}

// JournalDir holds the journals of copies in an object store.
func (c *Config) JournalDir() string { return c.path("journals") }

func (c *Config) checkS3() *Error {
	s := &c.S3
	if s.Region == "" {
		if s.Endpoint != "" || s.CredentialsFile != "" || s.CAFile != "" {
			return &Error{Key: "s3.region", Problem: "missing, and other settings of s3 are given", Allowed: "the region that requests are signed for, e.g. eu-central-1"}
		}
		return nil
	}
	if s.Endpoint != "" {
		if u, err := url.Parse(s.Endpoint); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return &Error{Key: "s3.endpoint", Problem: fmt.Sprintf("%q", clip(s.Endpoint)), Allowed: "https://host[:port][/path]"}
		}
	}
	for key, path := range map[string]string{"s3.credentials_file": s.CredentialsFile, "s3.ca_file": s.CAFile} {
		if path != "" && !filepath.IsAbs(path) {
			return &Error{Key: key, Problem: fmt.Sprintf("%q is no absolute path", clip(path)), Allowed: "an absolute path"}
		}
	}
	return nil
}
