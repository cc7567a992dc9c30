package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/statement"
	"conclave/hsm/secret"
)

// The demo's hardware security module is SoftHSM, in a folder of its own, and on record as the simulator that it is.
const (
	hsmKeystore = "hsm-sim"
	hsmKey      = "demo-vault-cards"
	hsmFolder   = "softhsm"
	hsmModule   = "softhsm"
	tokenLabel  = "conclave demo"
)

// hsmPaths are where Debian and Fedora put SoftHSM's module.
var hsmPaths = []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"}

// findHSM looks for SoftHSM and its tool, and says what to configure the service with: nothing where either is missing.
// SoftHSM reads where its tokens are from the environment.
func (d *demo) findHSM() (map[string]string, error) {
	none := map[string]string{}
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		return none, nil
	}
	for _, path := range hsmPaths {
		if _, err := os.Stat(path); err == nil {
			d.module = path
			break
		}
	}
	if d.module == "" {
		return none, nil
	}
	if err := os.Setenv("SOFTHSM2_CONF", filepath.Join(d.dir, hsmFolder, "softhsm2.conf")); err != nil {
		return nil, err
	}
	return map[string]string{"pkcs11.modules": hsmModule + "=" + d.module, "pkcs11.so_pin_file": d.soPINFile()}, nil
}

func (d *demo) soPINFile() string { return filepath.Join(d.dir, hsmFolder, "first-so-pin") }

// tellToken is the chapter of the hardware security module.
func (d *demo) tellToken(ctx context.Context) error {
	d.tell("A hardware security module: SoftHSM in its place, on record as simulated.")
	if d.module == "" {
		d.say("SoftHSM is not here, so this chapter is left out. On Debian: apt-get install softhsm2 opensc, then make reset.")
		return nil
	}
	for _, part := range []func(context.Context) error{d.blankToken, d.registerToken, d.takeTokenOver, d.simulate, d.placeInToken, d.useToken, d.lookIntoToken} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	d.state.Token = true
	return nil
}

// blankToken is the maker's part: a token with a label and first PINs.
func (d *demo) blankToken(ctx context.Context) error {
	folder := filepath.Join(d.dir, hsmFolder)
	tokens := filepath.Join(folder, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return fmt.Errorf("making the folder of the token: %w", err)
	}
	soPIN := rand.Text()[:16]
	config := "# Demonstration data.\ndirectories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := errors.Join(os.WriteFile(filepath.Join(folder, "softhsm2.conf"), []byte(config), 0o600),
		os.WriteFile(d.soPINFile(), []byte(soPIN+"\n"), 0o600)); err != nil {
		return fmt.Errorf("preparing the token: %w", err)
	}
	out, err := exec.CommandContext(ctx, "softhsm2-util", "--init-token", "--free", "--label", tokenLabel, "--so-pin", soPIN, "--pin", rand.Text()[:16]).CombinedOutput()
	if err != nil {
		return fmt.Errorf("softhsm2-util: %w: %s", err, strings.TrimSpace(string(out)))
	}
	d.say("softhsm2-util made a token labelled %q with a first PIN, as a device is delivered.", tokenLabel)
	return nil
}

func (d *demo) registerToken(ctx context.Context) error {
	params := map[string]any{"id": hsmKeystore, "driver": "pkcs11", "jurisdiction": "EU", "environment": "production", "location": "demo data centre, rack 2",
		"controller": "demo-ada", "make": "SoftHSM", "model": "simulator", "token": map[string]any{"module": hsmModule, "label": tokenLabel},
		"share_set": map[string]any{"id": hsmKeystore + "-shares", "threshold": threshold, "holders": holders()}}
	if _, err := d.govern(ctx, "demo-cleo", "keystore.register", params, "a device for what asks for one", "demo-ada", "demo-ben"); err != nil {
		return err
	}
	for _, id := range holders() {
		a, err := d.Act(id)
		if err != nil {
			return err
		}
		if _, err := a.ProveShares(ctx, "share.confirm", "issued"); err != nil {
			return fmt.Errorf("%s confirming a share of %s: %w", id, hsmKeystore, err)
		}
	}
	k, err := d.keystore(ctx, hsmKeystore)
	if err != nil {
		return err
	}
	d.say("It was found by its label and is pinned to serial number %s; it makes %s.", k.Token.Serial, strings.Join(k.Makes, ", "))
	d.say("The secret from which both its PINs follow was split among five, who confirmed their shares.")
	return nil
}

// takeTokenOver erases the token: afterwards only a quorum's shares open it.
func (d *demo) takeTokenOver(ctx context.Context) error {
	ada, err := d.Act(holders()[0])
	if err != nil {
		return err
	}
	proposed, err := ada.API.Propose(ctx, "keystore.initialise", map[string]any{"keystore": hsmKeystore}, "the device arrived")
	if err != nil {
		return fmt.Errorf("calling for the initialisation of %s: %w", hsmKeystore, err)
	}
	wim, err := d.Act("demo-wim")
	if err != nil {
		return err
	}
	if _, err := wim.Vote(ctx, &proposed.Ceremony, statement.Attend, nil); err != nil {
		return fmt.Errorf("the witness attending: %w", err)
	}
	if _, err := d.Bring(ctx, proposed.Ceremony, nil, holders()[:threshold]...); err != nil {
		return err
	}
	d.say("Wim attended, three brought their shares: the token was erased, and its PINs are known to nobody now.")
	return os.Remove(d.soPINFile())
}

// simulate puts the device on record as what it stands for: possible in development only, and for good.
func (d *demo) simulate(ctx context.Context) error {
	params := map[string]any{"keystore": hsmKeystore, "simulated": true, "fips_standard": "140-3", "fips_level": 3, "certificate": "SIMULATED",
		"reason": "stands for a device of level 3 in this demonstration"}
	if _, err := d.govern(ctx, "demo-cleo", "keystore.alter", params, "stands for a device of level 3 in this demonstration", "demo-ada", "demo-ben"); err != nil {
		return err
	}
	k, err := d.keystore(ctx, hsmKeystore)
	if err != nil {
		return err
	}
	d.say("On record: %s. Outside of development mode no simulator counts for anything.", k.FIPS)
	return nil
}

func (d *demo) placeInToken(ctx context.Context) error {
	params := keyParams(vault)
	params["id"], params["label"], params["impact"] = hsmKey, "Demo card numbers, the whole archive", "high"
	cleo, err := d.Act("demo-cleo")
	if err != nil {
		return err
	}
	_, err = cleo.API.Propose(ctx, "key.create", params, "the archive is worth more than a day's orders")
	var p *client.Problem
	if !errors.As(err, &p) {
		return fmt.Errorf("a placement refused by level was expected, got %v", err)
	}
	if err := d.refused(err, p.Code, "A key for cardholder data of high impact in the software keystore"); err != nil {
		return err
	}
	params["keystore"] = hsmKeystore
	if _, err := d.govern(ctx, "demo-cleo", "key.create", params, "the archive is worth more than a day's orders", "demo-ada", "demo-ben"); err != nil {
		return err
	}
	grant := map[string]any{"application": shop, "key": hsmKey, "operations": []string{"datakey", "encrypt", "decrypt"}, "days": 365}
	_, err = d.Govern(ctx, "demo-cleo", "grant.create", grant, "the shop keeps the archive", nil, "demo-ada", "demo-ben")
	return err
}

// useToken encrypts, rotates, and reads what the version before has sealed.
func (d *demo) useToken(ctx context.Context) error {
	app, err := d.Bearer(d.state.AppToken)
	if err != nil {
		return err
	}
	text := secret.New([]byte("4000000000000002"))
	defer text.Wipe()
	sealed, err := app.Encrypt(ctx, hsmKey, text, nil)
	if err != nil {
		return fmt.Errorf("encrypting in the token: %w", err)
	}
	if _, err := d.Govern(ctx, "demo-cleo", "key.rotate", map[string]any{"key": hsmKey}, "shown", nil, "demo-ada", "demo-ben"); err != nil {
		return err
	}
	anew, err := app.Encrypt(ctx, hsmKey, text, nil)
	if err != nil {
		return fmt.Errorf("encrypting in the token after the rotation: %w", err)
	}
	got, err := app.Decrypt(ctx, hsmKey, api.DecryptRequest{Ciphertext: sealed.Ciphertext})
	if err != nil {
		return fmt.Errorf("decrypting in the token after the rotation: %w", err)
	}
	defer got.Bytes.Wipe()
	if !got.Bytes.Equal(text) || sealed.Version != 1 || anew.Version != 2 {
		return fmt.Errorf("versions %d and %d, and what was read is not what was written", sealed.Version, anew.Version)
	}
	d.say("The shop encrypted inside the token; the key was rotated there; version %d protects, version %d still reads.", anew.Version, sealed.Version)
	return nil
}

// keystore is what the API says of one.
func (d *demo) keystore(ctx context.Context, id string) (api.Keystore, error) {
	ada, err := d.Act("demo-ada")
	if err != nil {
		return api.Keystore{}, err
	}
	list, err := ada.API.Keystores(ctx)
	if err != nil {
		return api.Keystore{}, err
	}
	for _, k := range list {
		if k.ID == id && k.Token != nil {
			return k, nil
		}
	}
	return api.Keystore{}, fmt.Errorf("keystore %s is not listed as a token", id)
}
