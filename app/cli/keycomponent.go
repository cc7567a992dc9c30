package cli

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"conclave/app/api"
	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

const (
	// groupDigits is how many digits of a component are entered at a time.
	groupDigits = 8
	// entries is how often a component is asked for before the command gives up.
	entries = 3
)

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func importBring() *cobra.Command {
	c := &cobra.Command{
		Use: "bring CEREMONY", Short: "Enter your component of a key, with your signed approval of its import", Args: exactly("CEREMONY"),
		Long: "Asks for your component in groups of eight hexadecimal digits, which are not shown, compares its check value with the\n" +
			"one on your form, signs your approval of the ceremony, seals the component to the collector key of the node, which must be\n" +
			"signed by a node that your trust file pins, and hands both in. A wrong digit is named by the check value, here,\n" +
			"before anything leaves this process, and costs the ceremony nothing.",
	}
	yes := c.Flags().Bool("yes", false, "sign without asking, once what is shown has been read")
	file := c.Flags().String("component-file", "", "file with the component in hexadecimal; default: asked for on the terminal")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		shown, err := s.client.Ceremony(s.ctx, args[0])
		if err != nil {
			return err
		}
		self := s.person()
		slot, err := self.Slot(&shown)
		if err != nil {
			return err
		}
		key, recipient, err := self.Collector(s.ctx)
		if err != nil {
			return err
		}
		s.say("Collector key %s of node %s: signed by the node that the trust file pins.", recipient.KeyID, key.Node)
		value, err := s.component(*file, slot, *yes)
		if err != nil {
			return err
		}
		defer value.Wipe()
		after, err := self.BringComponent(s.ctx, &shown, value, recipient, s.review(&shown, *yes))
		if err != nil {
			return err
		}
		return s.showAfter(after)
	})
	return c
}

// component reads one component and holds it to its form.
func (s *session) component(path string, slot api.Component, yes bool) (*secret.Bytes, error) {
	length := keywrap.KeyBytes(hsm.AES256)
	if path != "" {
		text, err := readSecret(path)
		if err != nil {
			return nil, err
		}
		defer text.Wipe()
		var value *secret.Bytes
		err = text.Use(func(b []byte) error {
			value, err = digits(b, length)
			return err
		})
		if err != nil {
			return nil, err
		}
		if _, err := componentCheck(value, slot); err != nil {
			value.Wipe()
			return nil, err
		}
		return value, nil
	}
	terminal, ok := s.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return nil, usagef("component-file: no terminal to enter the component on; give a file")
	}
	s.say("Component %d, check value %s on your form: %d hexadecimal digits, in groups of %d. They are not shown.", slot.Index, slot.CheckValue, 2*length, groupDigits)
	for range entries {
		value, err := s.enter(terminal, length)
		if err != nil {
			return nil, err
		}
		check, err := componentCheck(value, slot)
		if err == nil {
			if err := s.confirm(yes, fmt.Sprintf("Check value %s. Is it the one on your form?", check)); err != nil {
				value.Wipe()
				return nil, err
			}
			return value, nil
		}
		value.Wipe()
		if !errors.Is(err, errDiffers) {
			return nil, err
		}
		s.say("%v. Once more from the beginning.", err)
	}
	return nil, fmt.Errorf("entered %d times: %w; nothing was handed in", entries, errDiffers)
}

// componentCheck is the check value of what was entered, or errDiffers.
func componentCheck(value *secret.Bytes, slot api.Component) (string, error) {
	if err := keywrap.CheckComponent(hsm.AES256, value); err != nil {
		return "", err
	}
	check, err := checkvalue.Of(hsm.AES256, value)
	if err != nil {
		return "", err
	}
	if !checkvalue.Match(check, slot.CheckValue) {
		return check, fmt.Errorf("%w: of what was entered it is %s, your form states %s: a digit is wrong", errDiffers, check, slot.CheckValue)
	}
	return check, nil
}

// enter asks for a component group by group, without echo. A group that is no group is asked for again.
func (s *session) enter(terminal *os.File, length int) (*secret.Bytes, error) {
	all := make([]byte, 0, 2*length)
	defer func() { secret.Wipe(all[:cap(all)]) }()
	groups := 2 * length / groupDigits
	for g := 0; g < groups; {
		fmt.Fprintf(s.err, "Group %d of %d: ", g+1, groups)
		text, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(s.err)
		if err != nil {
			return nil, fmt.Errorf("reading the component: %w", err)
		}
		group := bytes.Join(bytes.Fields(text), nil)
		if len(group) == groupDigits && hexadecimal(group) {
			all = append(all, group...)
			g++
		} else {
			s.say("That is not %d hexadecimal digits; this group again.", groupDigits)
		}
		secret.Wipe(text)
		secret.Wipe(group)
	}
	return digits(all, length)
}

func hexadecimal(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// digits reads hexadecimal digits with spaces between groups. Errors name no digit.
func digits(text []byte, length int) (*secret.Bytes, error) {
	packed := bytes.Join(bytes.Fields(text), nil)
	defer secret.Wipe(packed)
	if len(packed) != 2*length || !hexadecimal(packed) {
		return nil, usagef("component: %d characters; allowed: %d hexadecimal digits, spaces between groups", len(packed), 2*length)
	}
	value := make([]byte, length)
	if _, err := hex.Decode(value, packed); err != nil {
		secret.Wipe(value)
		return nil, usagef("component: not hexadecimal")
	}
	return secret.New(value), nil
}

func keyComponent() *cobra.Command {
	return parent("component", "Components of keys, offline", componentMake())
}

// madeComponent is what componentMake says of one component; the component itself is in the file alone.
type madeComponent struct {
	File       string `json:"file"`
	CheckValue string `json:"check_value"`
}

func componentMake() *cobra.Command {
	c := &cobra.Command{
		Use: "make", Short: "Make a new AES-256 key in components, one file each, and its check values (offline)", Args: exactly(),
		Long: "Makes random components, whose XOR is a new key that is never put together here, and writes each to a file of its own that\n" +
			"belongs to you alone: give each to its custodian, and delete it. The check value of the whole goes to whoever confirms the import.",
	}
	n := c.Flags().Int("components", 2, "how many")
	dir := c.Flags().String("dir", "", "directory to write them to")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if *n < hsm.LeastComponents || *n > hsm.MostComponents {
			return usagef("components: %d; allowed: %d to %d", *n, hsm.LeastComponents, hsm.MostComponents)
		}
		made := struct {
			Components []madeComponent `json:"components"`
			CheckValue string          `json:"check_value"` // of the key
		}{}
		whole := secret.New(make([]byte, keywrap.KeyBytes(hsm.AES256)))
		defer whole.Wipe()
		for i := range *n {
			one, err := s.makeComponent(filepath.Join(*dir, fmt.Sprintf("component-%d.hex", i+1)), whole)
			if err != nil {
				return err
			}
			made.Components = append(made.Components, one)
		}
		var err error
		if made.CheckValue, err = checkvalue.Of(hsm.AES256, whole); err != nil {
			return err
		}
		return s.show(made, func(w io.Writer) {
			var rows [][]string
			for i, m := range made.Components {
				rows = append(rows, []string{number(i + 1), m.File, m.CheckValue})
			}
			table(w, []string{"COMPONENT", "FILE", "CHECK VALUE"}, rows)
			fmt.Fprintf(w, "\nCheck value of the key: %s\n", made.CheckValue)
		})
	})
	return must(c, "dir")
}

// makeComponent writes one component and adds it to the whole.
func (s *session) makeComponent(path string, whole *secret.Bytes) (madeComponent, error) {
	value := secret.Random(whole.Len())
	defer value.Wipe()
	check, err := checkvalue.Of(hsm.AES256, value)
	if err != nil {
		return madeComponent{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return madeComponent{}, err
	}
	defer f.Close()
	err = value.Use(func(b []byte) error {
		line := make([]byte, 0, 3*len(b))
		defer func() { secret.Wipe(line[:cap(line)]) }()
		for i := 0; i < len(b); i += groupDigits / 2 {
			line = append(hex.AppendEncode(line, b[i:i+groupDigits/2]), ' ')
		}
		line[len(line)-1] = '\n'
		if _, err := f.Write(bytes.ToUpper(line)); err != nil {
			return err
		}
		return whole.Use(func(w []byte) error { subtle.XORBytes(w, w, b); return nil })
	})
	if err != nil {
		return madeComponent{}, err
	}
	return madeComponent{File: path, CheckValue: check}, f.Close()
}
