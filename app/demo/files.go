package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"conclave/app/client/filecrypt"
)

// Files of the story.
const (
	plainFile  = "orders.csv"
	sealedFile = plainFile + filecrypt.Suffix
	openedFile = "orders-opened.csv"
	orderLines = 100_000
)

func (d *demo) tellFile(ctx context.Context) error {
	d.tell("A real file is encrypted and read back: one data key a file, constant memory, any size.")
	plain := filepath.Join(d.dir, plainFile)
	if err := writeOrders(plain); err != nil {
		return err
	}
	app, err := d.Bearer(d.state.AppToken)
	if err != nil {
		return err
	}
	done, err := filecrypt.EncryptFile(ctx, app, filecrypt.Job{In: plain, Out: filepath.Join(d.dir, sealedFile), Force: true,
		Key: cardKey, Context: map[string]string{"file": plainFile}})
	if err != nil {
		return fmt.Errorf("encrypting the demo file: %w", err)
	}
	d.say("%s: %d bytes of made-up orders encrypted under %s, version %d.", plainFile, done.Bytes, done.Key, done.Version)
	if _, err := d.decryptFile(ctx, true); err != nil {
		return err
	}
	d.say("Decrypted, and equal to the original byte for byte. One altered byte would have been refused.")
	return nil
}

// decryptFile decrypts the story's file and compares it with the original.
func (d *demo) decryptFile(ctx context.Context, spoil bool) (version uint32, err error) {
	app, err := d.Bearer(d.state.AppToken)
	if err != nil {
		return 0, err
	}
	sealed, opened := filepath.Join(d.dir, sealedFile), filepath.Join(d.dir, openedFile)
	done, err := filecrypt.DecryptFile(ctx, app, filecrypt.Job{In: sealed, Out: opened, Force: true})
	if err != nil {
		return 0, fmt.Errorf("decrypting the demo file: %w", err)
	}
	want, err := os.ReadFile(filepath.Join(d.dir, plainFile))
	if err != nil {
		return 0, err
	}
	got, err := os.ReadFile(opened)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(want, got) {
		return 0, errors.New("the decrypted file differs from the original")
	}
	if spoil {
		return done.Version, d.spoil(ctx, app, sealed)
	}
	return done.Version, nil
}

// spoil alters one byte of a copy of the sealed file, which must then not open.
func (d *demo) spoil(ctx context.Context, app filecrypt.Service, sealed string) error {
	data, err := os.ReadFile(sealed)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	altered := sealed + ".altered"
	if err := os.WriteFile(altered, data, 0o600); err != nil {
		return err
	}
	_, err = filecrypt.DecryptFile(ctx, app, filecrypt.Job{In: altered, Out: altered + ".out", Force: true})
	if err == nil {
		return errors.New("an altered file was decrypted")
	}
	if _, statErr := os.Stat(altered + ".out"); !errors.Is(statErr, fs.ErrNotExist) {
		return errors.New("an altered file left plaintext behind")
	}
	return os.Remove(altered)
}

// writeOrders makes a file of made-up orders. The card numbers are from the range that networks reserve for
// tests, and random beyond that: nobody's.
func writeOrders(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the demo file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "order,test_card,amount_cents")
	amount, err := rand.Int(rand.Reader, big.NewInt(90_000))
	if err != nil {
		return fmt.Errorf("drawing an amount: %w", err)
	}
	for i := range orderLines {
		fmt.Fprintf(w, "%d,400000000000%04d,%d\n", i+1, i%10_000, amount.Int64()+int64(i%977))
	}
	return w.Flush()
}
