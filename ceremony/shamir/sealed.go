package shamir

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian/jwk"
	"conclave/custodian/strictjson"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxSealed bounds a sealed share; two recipients and the largest secret take about 4 KiB.
const maxSealed = 16 << 10

// maxRecipients: a daily device and a safe-held backup.
const maxRecipients = 2

// sealedType is the JWE "typ" of a sealed share.
const sealedType = "conclave-share"

// Reasons why a sealed share cannot be opened.
var (
	ErrSealed = errors.New("malformed sealed share")
	ErrNotFor = errors.New("share is sealed to another key")
	ErrUnseal = errors.New("sealed share does not open: it was altered, or its key is another")
)

// Recipient is a P-256 public key (JWK) a share is sealed to: a custodian's, or a node's collector key.
type Recipient struct {
	KeyID string // RFC 7638 thumbprint of Key
	Key   []byte // public JWK
}

// JOSE is the recipient for whoever seals to it: the public key, checked, under the key id that it must have.
func (r Recipient) JOSE() (jose.Recipient, error) {
	key, err := jwk.Parse(r.Key)
	if err != nil {
		return jose.Recipient{}, err
	}
	public, err := key.ECDSA()
	switch {
	case err != nil:
		return jose.Recipient{}, err
	case key.Use == "sig" || key.Alg == jwk.ES256:
		return jose.Recipient{}, fmt.Errorf("%w: a signature key", jwk.ErrKey)
	case key.Thumbprint() != r.KeyID:
		return jose.Recipient{}, errors.New("key id is not the thumbprint of the key")
	}
	return jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: public, KeyID: r.KeyID}, nil
}

// Sealed is what a sealed share says on its outside. The content repeats it, and Open compares.
type Sealed struct {
	Set    Set
	Index  int
	KeyIDs []string // recipients
}

// Seal encrypts a share to one recipient (JWE compact serialisation) or two (JWE general JSON
// serialisation): RFC 7516 with ECDH-ES+A256KW on P-256 and A256CBC-HS512, which any JOSE tool opens.
func Seal(share *Share, recipients ...Recipient) (string, error) {
	if len(recipients) < 1 || len(recipients) > maxRecipients {
		return "", fmt.Errorf("sealing %s: recipients: %d given, allowed are 1 or %d", share, len(recipients), maxRecipients)
	}
	to := make([]jose.Recipient, len(recipients))
	for i, r := range recipients {
		var err error
		if to[i], err = r.JOSE(); err != nil {
			return "", fmt.Errorf("sealing %s: recipient %d: %w", share, i+1, err)
		}
		if i > 0 && r.KeyID == recipients[0].KeyID {
			return "", fmt.Errorf("sealing %s: recipient %d: the same key twice", share, i+1)
		}
	}
	options := (&jose.EncrypterOptions{}).WithType(sealedType).
		WithHeader("set", share.set.ID).WithHeader("epoch", share.set.Epoch).WithHeader("index", share.index)
	encrypter, err := newEncrypter(to, options)
	if err != nil {
		return "", fmt.Errorf("sealing %s: %w", share, err)
	}
	encoded, err := share.Encode()
	if err != nil {
		return "", err
	}
	defer encoded.Wipe()
	var object *jose.JSONWebEncryption
	err = encoded.Use(func(b []byte) error {
		var err error
		object, err = encrypter.Encrypt(b)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("sealing %s: %w", share, err)
	}
	return serialise(object, len(recipients))
}

func newEncrypter(to []jose.Recipient, options *jose.EncrypterOptions) (jose.Encrypter, error) {
	if len(to) == 1 {
		return jose.NewEncrypter(jose.A256CBC_HS512, to[0], options)
	}
	return jose.NewMultiEncrypter(jose.A256CBC_HS512, to, options)
}

// generalJWE is the general JSON serialisation (RFC 7516 section 7.2.1) with the members used here.
type generalJWE struct {
	Ciphertext string             `json:"ciphertext"`
	IV         string             `json:"iv"`
	Protected  string             `json:"protected"`
	Recipients []generalRecipient `json:"recipients"`
	Tag        string             `json:"tag"`
}

type generalRecipient struct {
	EncryptedKey string         `json:"encrypted_key"`
	Header       jsontext.Value `json:"header"`
}

func serialise(object *jose.JSONWebEncryption, recipients int) (string, error) {
	if recipients == 1 {
		compact, err := object.CompactSerialize()
		if err != nil {
			return "", fmt.Errorf("serialising sealed share: %w", err)
		}
		return compact, nil
	}
	// The library repeats the first recipient's key outside the list, which RFC 7516 forbids.
	var general generalJWE
	if err := json.Unmarshal([]byte(object.FullSerialize()), &general); err != nil {
		return "", fmt.Errorf("serialising sealed share: %w", err)
	}
	raw, err := json.Marshal(general)
	if err != nil {
		return "", fmt.Errorf("serialising sealed share: %w", err)
	}
	canonical, err := strictjson.Canonical(raw)
	if err != nil {
		return "", fmt.Errorf("serialising sealed share: %w", err)
	}
	return string(canonical), nil
}

type protectedHeader struct {
	Alg   string         `json:"alg"`
	Enc   string         `json:"enc"`
	Typ   string         `json:"typ"`
	Kid   string         `json:"kid"`
	Epk   jsontext.Value `json:"epk"`
	Set   string         `json:"set"`
	Epoch uint32         `json:"epoch"`
	Index uint8          `json:"index"`
}

type recipientHeader struct {
	Alg string         `json:"alg"`
	Kid string         `json:"kid"`
	Epk jsontext.Value `json:"epk"`
}

// Inspect reads the outside of a sealed share, strictly, without opening it.
func Inspect(sealed string) (Sealed, error) {
	if len(sealed) > maxSealed {
		return Sealed{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrSealed, len(sealed), maxSealed)
	}
	var header protectedHeader
	out := Sealed{}
	if strings.HasPrefix(sealed, "{") {
		var general generalJWE
		if err := strictInto([]byte(sealed), &general); err != nil {
			return Sealed{}, err
		}
		if len(general.Recipients) != maxRecipients {
			return Sealed{}, fmt.Errorf("%w: recipients: %d, the JSON form is for %d", ErrSealed, len(general.Recipients), maxRecipients)
		}
		for _, r := range general.Recipients {
			var own recipientHeader
			if err := strictInto(r.Header, &own); err != nil {
				return Sealed{}, err
			}
			out.KeyIDs = append(out.KeyIDs, own.Kid)
		}
		if err := decodeHeader(general.Protected, &header); err != nil {
			return Sealed{}, err
		}
	} else {
		protected, _, _ := strings.Cut(sealed, ".")
		if err := decodeHeader(protected, &header); err != nil {
			return Sealed{}, err
		}
		out.KeyIDs = []string{header.Kid}
	}
	if header.Typ != sealedType {
		return Sealed{}, fmt.Errorf("%w: typ is not %q", ErrSealed, sealedType)
	}
	out.Set, out.Index = Set{ID: header.Set, Epoch: header.Epoch}, int(header.Index)
	if err := out.Set.check(); err != nil {
		return Sealed{}, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	if out.Index == 0 || slices.Contains(out.KeyIDs, "") {
		return Sealed{}, fmt.Errorf("%w: index or kid is missing", ErrSealed)
	}
	return out, nil
}

func decodeHeader(protected string, into *protectedHeader) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(protected)
	if err != nil {
		return fmt.Errorf("%w: protected header: %w", ErrSealed, err)
	}
	return strictInto(raw, into)
}

func strictInto(data []byte, into any) error {
	if err := strictjson.Check(data, maxSealed); err != nil {
		return fmt.Errorf("%w: %w", ErrSealed, err)
	}
	if err := json.Unmarshal(data, into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return nil
}
