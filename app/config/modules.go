package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// PKCS11 says by which modules this node speaks to tokens.
type PKCS11 struct {
	Modules   string `koanf:"modules"`
	Sessions  int    `koanf:"sessions"`
	SOPINFile string `koanf:"so_pin_file"`
}

// maxSessions bounds the sessions of one token, as the driver does.
const maxSessions = 64

// Modules are the paths of the PKCS #11 modules by name. The error is a *[Error].
func (c *Config) Modules() (map[string]string, error) {
	modules, err := c.modules()
	if err != nil {
		return nil, err
	}
	return modules, nil
}

func (c *Config) modules() (map[string]string, *Error) {
	out := map[string]string{}
	if c.PKCS11.Modules == "" {
		return out, nil
	}
	const allowed = "name=path for each module, separated by commas; the path absolute, e.g. softhsm=/usr/lib/softhsm/libsofthsm2.so"
	for _, entry := range strings.Split(c.PKCS11.Modules, ",") {
		name, path, _ := strings.Cut(entry, "=")
		_, twice := out[name]
		switch {
		case !nodeID.MatchString(name):
			return nil, &Error{Key: "pkcs11.modules", Problem: fmt.Sprintf("%q is no name", clip(name)), Allowed: allowed}
		case !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0):
			return nil, &Error{Key: "pkcs11.modules", Problem: fmt.Sprintf("%q is no absolute path without detours", clip(path)), Allowed: allowed}
		case twice:
			return nil, &Error{Key: "pkcs11.modules", Problem: fmt.Sprintf("%q twice", clip(name)), Allowed: allowed}
		}
		out[name] = path
	}
	return out, nil
}

func (c *Config) checkPKCS11() *Error {
	if _, err := c.modules(); err != nil {
		return err
	}
	if f := c.PKCS11.SOPINFile; f != "" && !filepath.IsAbs(f) {
		return &Error{Key: "pkcs11.so_pin_file", Problem: fmt.Sprintf("%q is no absolute path", clip(f)), Allowed: "an absolute path, of a file with mode 0600"}
	}
	return between("pkcs11.sessions", c.PKCS11.Sessions, 1, maxSessions)
}
