package client

import (
	"context"
	"net/http"

	"conclave/app/api"
	"conclave/hsm/secret"
)

// DataKeyPair is a key pair for the application.
type DataKeyPair struct {
	Key       string
	Version   uint32
	Algorithm string
	Public    []byte // SubjectPublicKeyInfo, DER
	// Private is the private half, PKCS #8 DER; nil where it was not asked for. Whoever holds it wipes it.
	Private *secret.Bytes
	// Ciphertext is what Decrypt turns into the private half again.
	Ciphertext []byte
	Warning    string
}

// DataKeyPair asks for a pair whose private half is wrapped under a key.
func (c *Client) DataKeyPair(ctx context.Context, key string, in api.DataKeyPairRequest) (DataKeyPair, error) {
	var out api.DataKeyPairResponse
	err := c.do(ctx, call{method: http.MethodPost, path: keyPath(key, "datakeypairs"), body: in, sensitive: true}, &out)
	if err != nil {
		return DataKeyPair{}, err
	}
	pair := DataKeyPair{Key: out.Key, Version: out.Version, Algorithm: out.Algorithm, Public: out.Public, Ciphertext: out.Ciphertext, Warning: out.Warning}
	if len(out.Plaintext) > 0 {
		pair.Private = secret.New(out.Plaintext)
	}
	return pair, nil
}

// Sign signs a message of up to 64 KiB, or a digest. Keep the version: verifying names it.
func (c *Client) Sign(ctx context.Context, key string, in api.SignRequest) (api.SignResponse, error) {
	return standard[api.SignResponse](ctx, c, key, "sign", in)
}

// Verify reports whether a signature is valid; a wrong one is no error.
func (c *Client) Verify(ctx context.Context, key string, in api.VerifyRequest) (api.VerifyResponse, error) {
	return standard[api.VerifyResponse](ctx, c, key, "verify", in)
}

// MAC authenticates a message of up to 64 KiB. Keep the version: verifying names it.
func (c *Client) MAC(ctx context.Context, key string, in api.MACRequest) (api.MACResponse, error) {
	return standard[api.MACResponse](ctx, c, key, "mac", in)
}

// VerifyMAC reports whether a MAC is valid; a wrong one is no error.
func (c *Client) VerifyMAC(ctx context.Context, key string, in api.VerifyMACRequest) (api.VerifyResponse, error) {
	return standard[api.VerifyResponse](ctx, c, key, "verify-mac", in)
}

// SignBatch is Sign for up to MaxBatch requests at once.
func (c *Client) SignBatch(ctx context.Context, key string, in []api.SignRequest) ([]Item[api.SignResponse], error) {
	return batch(ctx, c, keyPath(key, "sign/batch"), in, value[api.SignResponse])
}

// VerifyBatch is Verify for up to MaxBatch requests at once.
func (c *Client) VerifyBatch(ctx context.Context, key string, in []api.VerifyRequest) ([]Item[api.VerifyResponse], error) {
	return batch(ctx, c, keyPath(key, "verify/batch"), in, value[api.VerifyResponse])
}

// MACBatch is MAC for up to MaxBatch requests at once.
func (c *Client) MACBatch(ctx context.Context, key string, in []api.MACRequest) ([]Item[api.MACResponse], error) {
	return batch(ctx, c, keyPath(key, "mac/batch"), in, value[api.MACResponse])
}

// VerifyMACBatch is VerifyMAC for up to MaxBatch requests at once.
func (c *Client) VerifyMACBatch(ctx context.Context, key string, in []api.VerifyMACRequest) ([]Item[api.VerifyResponse], error) {
	return batch(ctx, c, keyPath(key, "verify-mac/batch"), in, value[api.VerifyResponse])
}

// PublicKeys returns the public halves of all versions of a pair.
func (c *Client) PublicKeys(ctx context.Context, key string) (api.PublicKeys, error) {
	var out api.PublicKeys
	err := c.do(ctx, call{method: http.MethodGet, path: keyPath(key, "public")}, &out)
	return out, err
}

// standard makes one call whose message may be confidential: its buffers are wiped.
func standard[Out, In any](ctx context.Context, c *Client, key, operation string, in In) (Out, error) {
	var out Out
	err := c.do(ctx, call{method: http.MethodPost, path: keyPath(key, operation), body: in, sensitive: true}, &out)
	return out, err
}
