package shamir

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"

	"conclave/hsm/secret"

	"github.com/hashicorp/vault/shamir"
)

// Register is what the custody register says about the current shares of one set.
type Register struct {
	Set         Set
	Threshold   int            // m
	Commitments map[int][]byte // by index: of every share issued and not lost
}

// Split makes n shares of secretValue, any m of which give it back: 2 <= m < n <= 255. At least
// one share may be lost without harm; with m = n a single loss would be the end of the key.
// The caller seals and then wipes the shares.
func Split(secretValue *secret.Bytes, m, n int, set Set) ([]*Share, error) {
	if m < 2 || n <= m || n > MaxTotal {
		return nil, fmt.Errorf("%w: %d of %d, allowed are 2 <= m < n <= %d", ErrThreshold, m, n, MaxTotal)
	}
	if l := secretValue.Len(); l < MinSecret || l > MaxSecret {
		return nil, fmt.Errorf("%w: %d bytes, allowed are %d to %d", ErrSize, l, MinSecret, MaxSecret)
	}
	if err := set.check(); err != nil {
		return nil, err
	}
	var values [][]byte
	err := secretValue.Use(func(b []byte) error {
		var err error
		if values, err = shamir.Split(b, n, m); err != nil {
			return err
		}
		return rehearse(b, values, m)
	})
	if err != nil {
		for _, v := range values {
			secret.Wipe(v)
		}
		return nil, fmt.Errorf("splitting the secret of %s: %w", set, err)
	}
	shares := make([]*Share, n)
	for i, value := range values {
		shares[i] = &Share{set: set, index: i + 1, value: secret.New(value)}
	}
	return shares, nil
}

// rehearse puts the secret together from the first and from the last m shares before the original is
// forgotten (reconstruct from a sample of m-subsets, compare, zeroise).
func rehearse(want []byte, values [][]byte, m int) error {
	for _, sample := range [][][]byte{values[:m], values[len(values)-m:]} {
		got, err := shamir.Combine(sample)
		if err != nil {
			return err
		}
		same := subtle.ConstantTimeCompare(got, want) == 1
		secret.Wipe(got)
		if !same {
			return errors.New("the shares do not give the secret back")
		}
	}
	return nil
}

// CheckShare tells whether a share is the one the register knows: ErrForeignSet, ErrStaleEpoch,
// ErrNotIssued or ErrWrongShare name what it is instead.
func CheckShare(share *Share, register Register) error {
	switch {
	case share.set.ID != register.Set.ID:
		return fmt.Errorf("%w: it belongs to %s, wanted is %s", ErrForeignSet, share.set, register.Set)
	case share.set.Epoch < register.Set.Epoch:
		return fmt.Errorf("%w: it belongs to %s, wanted is epoch %d", ErrStaleEpoch, share.set, register.Set.Epoch)
	case share.set.Epoch > register.Set.Epoch:
		return fmt.Errorf("%w: it names %s, the current epoch is %d", ErrNotIssued, share.set, register.Set.Epoch)
	}
	want, issued := register.Commitments[share.index]
	if !issued {
		return fmt.Errorf("%w: no share %d in %s", ErrNotIssued, share.index, register.Set)
	}
	if err := checkCommitment(want); err != nil {
		return fmt.Errorf("register of %s, share %d: %w", register.Set, share.index, err)
	}
	have, err := share.Commitment()
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) { // both are public
		return fmt.Errorf("%w: it does not fit the commitment of share %d of %s", ErrWrongShare, share.index, register.Set)
	}
	return nil
}

// Collector gathers checked shares until there are enough. It is not safe for concurrent use.
type Collector struct {
	register Register
	shares   map[int]*Share
}

// NewCollector begins gathering shares of one set.
func NewCollector(register Register) (*Collector, error) {
	if err := register.Set.check(); err != nil {
		return nil, err
	}
	if m := register.Threshold; m < 2 || m > len(register.Commitments) || len(register.Commitments) > MaxTotal {
		return nil, fmt.Errorf("%w: %d needed, %d commitments in the register", ErrThreshold, m, len(register.Commitments))
	}
	return &Collector{register: register, shares: make(map[int]*Share)}, nil
}

// Add checks a share and keeps it. A refused share changes nothing and stays the caller's to wipe; an
// accepted one is the collector's. ErrRepeated: this share was given before.
func (c *Collector) Add(share *Share) error {
	if err := CheckShare(share, c.register); err != nil {
		return err
	}
	if _, given := c.shares[share.index]; given {
		return fmt.Errorf("%w: share %d of %s", ErrRepeated, share.index, c.register.Set)
	}
	c.shares[share.index] = share
	return nil
}

// Count is the number of different good shares gathered.
func (c *Collector) Count() int { return len(c.shares) }

// Missing is how many more are needed.
func (c *Collector) Missing() int { return max(0, c.register.Threshold-len(c.shares)) }

// Keep wipes the shares that keep refuses: what was good when it was given may be good no more.
func (c *Collector) Keep(keep func(index int) bool) {
	for index, share := range c.shares {
		if !keep(index) {
			share.Wipe()
			delete(c.shares, index)
		}
	}
}

// Combine puts the secret together, or ErrTooFew. The shares stay until Wipe.
func (c *Collector) Combine() (*secret.Bytes, error) {
	if missing := c.Missing(); missing > 0 {
		return nil, fmt.Errorf("%w: %s has %d of %d", ErrTooFew, c.register.Set, len(c.shares), c.register.Threshold)
	}
	values := make([][]byte, 0, len(c.shares))
	defer func() {
		for _, v := range values {
			secret.Wipe(v)
		}
	}()
	for _, share := range c.shares {
		err := share.value.Use(func(b []byte) error {
			values = append(values, bytes.Clone(b))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("combining %s: %w", c.register.Set, err)
		}
	}
	combined, err := shamir.Combine(values)
	if err != nil {
		return nil, fmt.Errorf("combining %s: %w", c.register.Set, err)
	}
	return secret.New(combined), nil
}

// Wipe overwrites every share gathered and begins anew.
func (c *Collector) Wipe() {
	for _, share := range c.shares {
		share.Wipe()
	}
	clear(c.shares)
}

// Combine checks every share against the register and puts the secret together.
func Combine(register Register, shares []*Share) (*secret.Bytes, error) {
	c, err := NewCollector(register)
	if err != nil {
		return nil, err
	}
	for _, share := range shares {
		if err := c.Add(share); err != nil {
			return nil, err
		}
	}
	return c.Combine()
}
