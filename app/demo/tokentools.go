package demo

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

// pinVariable is where pkcs11-tool finds the PIN: the arguments of a program are for everybody to see.
const pinVariable = "CONCLAVE_DEMO_TOKEN_PIN"

// lookIntoToken shows with the token's own tools that what the service says is there is there, and that it can not be
// taken out. That takes the PIN, which nobody has: three custodians put their shares together, beside the service.
func (d *demo) lookIntoToken(ctx context.Context) error {
	if _, err := exec.LookPath("pkcs11-tool"); err != nil {
		d.say("pkcs11-tool is not here to look into the token: on Debian, apt-get install opensc.")
		return nil
	}
	pin, err := d.tokenPIN(ctx, holders()[:threshold]...)
	if err != nil {
		return fmt.Errorf("putting the shares of %s together: %w", hsmKeystore, err)
	}
	defer pin.Wipe()
	listed, err := d.pkcs11Tool(ctx, pin, "--list-objects", "--type", "secrkey")
	if err != nil {
		return fmt.Errorf("listing the token's objects: %w: %s", err, listed)
	}
	d.say("Three custodians put their shares together beside the service, for the PIN, and looked with pkcs11-tool:")
	ada, err := d.Act(holders()[0])
	if err != nil {
		return err
	}
	versions, err := ada.API.Versions(ctx, hsmKey)
	if err != nil {
		return err
	}
	for _, v := range versions {
		label := fmt.Sprintf("%s:%d:%s", hsmKey, v.Version, "aes-256")
		access, found := objectAccess(listed, label)
		if !found || !strings.Contains(access, "sensitive") || !strings.Contains(access, "never extractable") || !strings.Contains(access, "local") {
			return fmt.Errorf("the token does not show %s as it is on record: %q in\n%s", label, access, listed)
		}
		d.say("   %s: %s", label, access)
		out, err := d.pkcs11Tool(ctx, pin, "--read-object", "--type", "secrkey", "--label", label)
		if err == nil {
			return fmt.Errorf("the material of %s was read out of the token", label)
		}
		d.say("   reading it out: refused by the token. %s", whatItSaid(out))
	}
	return nil
}

// tokenPIN puts shares together and derives the user PIN, as docs/wire-formats.md has it.
func (d *demo) tokenPIN(ctx context.Context, holders ...string) (*secret.Bytes, error) {
	register := shamir.Register{Threshold: threshold, Commitments: map[int][]byte{}}
	var shares []*shamir.Share
	defer func() {
		for _, s := range shares {
			s.Wipe()
		}
	}()
	for _, id := range holders {
		a, err := d.Act(id)
		if err != nil {
			return nil, err
		}
		lines, err := a.API.MyShares(ctx)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if line.Set != hsmKeystore+"-shares" || !line.InUse {
				continue
			}
			share, err := a.OpenShare(line)
			if err != nil {
				return nil, err
			}
			shares = append(shares, share)
			register.Set, register.Commitments[line.Index] = share.Set(), line.Commitment
		}
	}
	activation, err := shamir.Combine(register, shares)
	if err != nil {
		return nil, err
	}
	defer activation.Wipe()
	var pin *secret.Bytes
	err = activation.Use(func(b []byte) error {
		raw, err := hkdf.Key(sha256.New, b, nil, "conclave token user pin v1", 32)
		if err != nil {
			return err
		}
		defer secret.Wipe(raw)
		pin = secret.New([]byte(base64.RawURLEncoding.EncodeToString(raw)))
		return nil
	})
	return pin, err
}

func (d *demo) pkcs11Tool(ctx context.Context, pin *secret.Bytes, arguments ...string) (string, error) {
	c := exec.CommandContext(ctx, "pkcs11-tool", append([]string{"--module", d.module, "--token-label", tokenLabel, "--login", "--pin", "env:" + pinVariable}, arguments...)...)
	err := pin.Use(func(b []byte) error {
		c.Env = append(os.Environ(), pinVariable+"="+string(b))
		return nil
	})
	if err != nil {
		return "", err
	}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("running pkcs11-tool: %w", err)
	}
	return string(out), err
}

// objectAccess is what pkcs11-tool's list says of the access to the object of a label.
func objectAccess(listed, label string) (access string, found bool) {
	for _, object := range strings.Split(listed, "Secret Key Object") {
		facts := map[string]string{}
		for _, line := range strings.Split(object, "\n") {
			name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
			if ok {
				facts[name] = strings.TrimSpace(value)
			}
		}
		if facts["label"] == label {
			return facts["Access"], true
		}
	}
	return "", false
}

// whatItSaid is the return value of the module among what pkcs11-tool prints of an error.
func whatItSaid(out string) string {
	for _, line := range strings.Split(out, "\n") {
		if i := strings.Index(line, "CKR_"); i >= 0 {
			return strings.TrimSpace(line[i:]) + "."
		}
	}
	return strings.TrimSpace(out)
}
