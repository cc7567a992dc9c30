package httpapi

import (
	"encoding/json"
	"fmt"
	"time"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/hsm/secret"
)

// The data plane. Each call reads its body, goes through the door, and writes what came out. Plaintext is
// wiped as soon as it is written into the answer's buffer, and that when it has been sent.

func (s *server) dataKey(x *exchange) error {
	var in api.DataKeyRequest
	if err := x.readDataKey(&in); err != nil {
		return err
	}
	return x.use(dataKeyUse(&in), access.DataKey, appendDataKey)
}

func (s *server) encrypt(x *exchange) error {
	var in api.EncryptRequest
	if err := x.readEncrypt(&in); err != nil {
		return err
	}
	defer secret.Wipe(in.Plaintext)
	return x.use(encryptUse(&in), access.Encrypt, appendSealed)
}

func (s *server) decrypt(x *exchange) error {
	var in api.DecryptRequest
	if err := x.readDecrypt(&in); err != nil {
		return err
	}
	return x.use(decryptUse(&in), access.Decrypt, appendOpened)
}

func (s *server) rewrap(x *exchange) error {
	var in api.RewrapRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	return x.use(rewrapUse(&in), access.Rewrap, appendSealed)
}

// use makes one call through the door and answers with what write says of the result.
func (x *exchange) use(u custodian.Use, op access.Operation, write func([]byte, *custodian.Used) []byte) error {
	u.Operation, u.Key = op, x.c.Param("key")
	used, err := x.s.door.Use(x.ctx(), x.who, u)
	if err != nil {
		return err
	}
	x.grow(answerSize(&used))
	x.out = write(x.out[:0], &used)
	secret.Wipe(used.Plaintext)
	return x.ok()
}

// grow makes room, so that an answer with plaintext is never copied to a larger buffer and left behind.
func (x *exchange) grow(n int) {
	if cap(x.out) < n {
		x.out = make([]byte, 0, n)
	}
}

// answerSize is more than any answer for this result takes: base64 and the members around it.
func answerSize(u *custodian.Used) int {
	return (len(u.Plaintext)+len(u.Ciphertext)+len(u.Public)+len(u.Signature))*4/3 + 6*(len(u.Key)+len(u.Warning)) + 256
}

func dataKeyUse(in *api.DataKeyRequest) custodian.Use {
	return custodian.Use{Context: in.Context, Bytes: in.Bytes, WithPlain: in.Plaintext, ReasonCode: in.Reason}
}

func encryptUse(in *api.EncryptRequest) custodian.Use {
	return custodian.Use{Context: in.Context, Plaintext: in.Plaintext, ReasonCode: in.Reason}
}

func decryptUse(in *api.DecryptRequest) custodian.Use {
	return custodian.Use{Context: in.Context, Ciphertext: in.Ciphertext, AcceptRisk: in.AcceptRisk, ReasonCode: in.Reason, Version: in.Version}
}

func rewrapUse(in *api.RewrapRequest) custodian.Use {
	return custodian.Use{Context: in.Context, Ciphertext: in.Ciphertext, NewContext: in.NewContext, ReasonCode: in.Reason}
}

// batchOf is the handler of a batch route: one entry in the ledger, items that fail alone.
func batchOf[In any](s *server, op access.Operation, toUse func(*In) custodian.Use, write func([]byte, *custodian.Used) []byte) func(*exchange) error {
	return func(x *exchange) error {
		var in api.Batch[In]
		if err := x.decode(&in); err != nil {
			return err
		}
		if n := len(in.Items); n == 0 || n > custodian.MaxBatch {
			return &custodian.InputError{Field: "items", Problem: fmt.Sprintf("%d items", n), Allowed: fmt.Sprintf("1 to %d", custodian.MaxBatch)}
		}
		s.metrics.batch(len(in.Items))
		uses := make([]custodian.Use, len(in.Items))
		for i := range in.Items {
			uses[i] = toUse(&in.Items[i])
			uses[i].Operation, uses[i].Key = op, x.c.Param("key")
		}
		defer func() {
			for i := range uses {
				secret.Wipe(uses[i].Plaintext)
				secret.Wipe(uses[i].Message)
			}
		}()
		results, err := s.door.UseBatch(x.ctx(), x.who, uses)
		if err != nil {
			return err
		}
		if err := x.writeBatch(results, write); err != nil {
			return err
		}
		return x.ok()
	}
}

// writeBatch puts the results of a batch into the answer's buffer.
func (x *exchange) writeBatch(results []custodian.BatchItem, write func([]byte, *custodian.Used) []byte) error {
	size := 64
	for i := range results {
		size += answerSize(&results[i].Used) + 32
	}
	x.grow(size)
	out := append(x.out[:0], `{"items":[`...)
	for i := range results {
		if i > 0 {
			out = append(out, ',')
		}
		item := &results[i]
		if item.Err != nil {
			problem, err := json.Marshal(x.s.describe(item.Err, false))
			if err != nil {
				return fmt.Errorf("encoding answer: %w", err)
			}
			out = append(append(append(out, `{"error":`...), problem...), '}')
			continue
		}
		out = append(write(append(out, `{"result":`...), &item.Used), '}')
		secret.Wipe(item.Plaintext)
	}
	x.out = append(out, "]}"...)
	return nil
}

// cacheSeconds rounds down: a client may not keep a key longer than policy says.
func cacheSeconds(d time.Duration) int64 { return int64(d / time.Second) }
