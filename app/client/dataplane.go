package client

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"conclave/app/api"
	"conclave/hsm/secret"
)

// DataKey is a data-encryption key and its wrapped form.
type DataKey struct {
	Key     string
	Version uint32
	// Plaintext is nil where it was not asked for. Whoever holds a DataKey wipes it.
	Plaintext *secret.Bytes
	// Ciphertext is what Decrypt turns into the plaintext again; keep it beside the data.
	Ciphertext []byte
	Warning    string        // e.g. that the key version ends soon
	CacheFor   time.Duration // how long policy lets it be reused; 0: once
}

// Plaintext is what Decrypt returns. Whoever holds it wipes it.
type Plaintext struct {
	Key     string
	Version uint32
	Bytes   *secret.Bytes
}

// Item is one result of a batch: an item fails alone.
type Item[T any] struct {
	Result T
	Err    error // *Problem when the service refused this item
}

// MaxBatch is the largest batch the service takes.
const MaxBatch = 100

// WithReasonCode returns a client of the same service whose data-plane calls say why they are made, with a reason
// code of the policy. Items of a batch name their own. Both clients end with the first one's Close.
func (c *Client) WithReasonCode(code string) *Client {
	own := *c
	own.reason = code
	return &own
}

// DataKey asks for a data key of n bytes under a key, bound to an encryption context.
func (c *Client) DataKey(ctx context.Context, key string, n int, encryptionContext map[string]string) (DataKey, error) {
	var out api.DataKeyResponse
	err := c.do(ctx, call{
		method: http.MethodPost, path: keyPath(key, "datakeys"), sensitive: true,
		body: api.DataKeyRequest{Bytes: n, Context: encryptionContext, Plaintext: true, Reason: c.reason},
	}, &out)
	if err != nil {
		return DataKey{}, err
	}
	return newDataKey(&out), nil
}

// WrappedDataKey asks for a data key without its plaintext, for a party that only stores it.
func (c *Client) WrappedDataKey(ctx context.Context, key string, n int, encryptionContext map[string]string) (DataKey, error) {
	var out api.DataKeyResponse
	err := c.do(ctx, call{
		method: http.MethodPost, path: keyPath(key, "datakeys"),
		body: api.DataKeyRequest{Bytes: n, Context: encryptionContext, Reason: c.reason},
	}, &out)
	if err != nil {
		return DataKey{}, err
	}
	return newDataKey(&out), nil
}

// Encrypt encrypts up to 64 KiB inside the service. plaintext stays the caller's.
func (c *Client) Encrypt(ctx context.Context, key string, plaintext *secret.Bytes, encryptionContext map[string]string) (api.EncryptResponse, error) {
	var out api.EncryptResponse
	err := plaintext.Use(func(b []byte) error {
		return c.do(ctx, call{
			method: http.MethodPost, path: keyPath(key, "encrypt"), sensitive: true,
			body: api.EncryptRequest{Plaintext: b, Context: encryptionContext, Reason: c.reason},
		}, &out)
	})
	return out, err
}

// Decrypt opens a ciphertext or a wrapped data key. key may be "": the ciphertext names it.
func (c *Client) Decrypt(ctx context.Context, key string, in api.DecryptRequest) (Plaintext, error) {
	var out api.DecryptResponse
	in.Reason = cmp.Or(in.Reason, c.reason)
	err := c.do(ctx, call{method: http.MethodPost, path: decryptPath(key), body: in, sensitive: true}, &out)
	if err != nil {
		return Plaintext{}, err
	}
	return newPlaintext(&out), nil
}

// Rewrap puts a ciphertext under the key's current version; no plaintext leaves the service.
func (c *Client) Rewrap(ctx context.Context, key string, in api.RewrapRequest) (api.RewrapResponse, error) {
	var out api.RewrapResponse
	in.Reason = cmp.Or(in.Reason, c.reason)
	err := c.do(ctx, call{method: http.MethodPost, path: keyPath(key, "rewrap"), body: in}, &out)
	return out, err
}

// DataKeys is DataKey for up to MaxBatch requests at once.
func (c *Client) DataKeys(ctx context.Context, key string, in []api.DataKeyRequest) ([]Item[DataKey], error) {
	return batch(ctx, c, keyPath(key, "datakeys/batch"), in, newDataKey)
}

// EncryptBatch is Encrypt for up to MaxBatch requests at once. The caller wipes their plaintexts.
func (c *Client) EncryptBatch(ctx context.Context, key string, in []api.EncryptRequest) ([]Item[api.EncryptResponse], error) {
	return batch(ctx, c, keyPath(key, "encrypt/batch"), in, value[api.EncryptResponse])
}

// DecryptBatch is Decrypt for up to MaxBatch requests at once; key may be "".
func (c *Client) DecryptBatch(ctx context.Context, key string, in []api.DecryptRequest) ([]Item[Plaintext], error) {
	return batch(ctx, c, decryptPath(key)+"/batch", in, newPlaintext)
}

// RewrapBatch is Rewrap for up to MaxBatch requests at once.
func (c *Client) RewrapBatch(ctx context.Context, key string, in []api.RewrapRequest) ([]Item[api.RewrapResponse], error) {
	return batch(ctx, c, keyPath(key, "rewrap/batch"), in, value[api.RewrapResponse])
}

func batch[In, Wire, Out any](ctx context.Context, c *Client, path string, in []In, convert func(*Wire) Out) ([]Item[Out], error) {
	if len(in) == 0 || len(in) > MaxBatch {
		return nil, fmt.Errorf("batch: %d items; allowed: 1 to %d", len(in), MaxBatch)
	}
	var out api.BatchResult[Wire]
	err := c.do(ctx, call{method: http.MethodPost, path: path, body: api.Batch[In]{Items: in}, sensitive: true}, &out)
	if err != nil {
		return nil, err
	}
	if len(out.Items) != len(in) {
		return nil, fmt.Errorf("batch: %d results for %d items", len(out.Items), len(in))
	}
	items := make([]Item[Out], len(out.Items))
	for i, it := range out.Items {
		switch {
		case it.Error != nil:
			items[i].Err = &Problem{Problem: *it.Error}
		case it.Result != nil:
			items[i].Result = convert(it.Result)
		default:
			items[i].Err = fmt.Errorf("batch: item %d has neither result nor error", i)
		}
	}
	return items, nil
}

func value[T any](v *T) T { return *v }

// newDataKey moves the plaintext out of the decoded answer, which is wiped.
func newDataKey(r *api.DataKeyResponse) DataKey {
	d := DataKey{Key: r.Key, Version: r.Version, Ciphertext: r.Ciphertext, Warning: r.Warning}
	if r.CacheSeconds > 0 {
		d.CacheFor = time.Duration(min(r.CacheSeconds, int64(maxCacheAge/time.Second))) * time.Second
	}
	if len(r.Plaintext) > 0 {
		d.Plaintext = secret.New(r.Plaintext)
	}
	return d
}

func newPlaintext(r *api.DecryptResponse) Plaintext {
	return Plaintext{Key: r.Key, Version: r.Version, Bytes: secret.New(r.Plaintext)}
}

func keyPath(key, operation string) string {
	return "/v1/keys/" + url.PathEscape(key) + "/" + operation
}

func decryptPath(key string) string {
	if key == "" {
		return "/v1/decrypt"
	}
	return keyPath(key, "decrypt")
}
