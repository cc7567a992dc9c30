package httpapi

import (
	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/hsm"
	"conclave/hsm/secret"
)

// Signatures, MACs and pairs: the part of the data plane that gives and takes standard forms.

// oneOf is the handler of a route for one call whose body is read by the general parser.
func oneOf[In any](op access.Operation, toUse func(*In) custodian.Use, write func([]byte, *custodian.Used) []byte) func(*exchange) error {
	return func(x *exchange) error {
		var in In
		if err := x.decode(&in); err != nil {
			return err
		}
		u := toUse(&in)
		defer secret.Wipe(u.Message)
		return x.use(u, op, write)
	}
}

func (s *server) dataKeyPair(x *exchange) error {
	var in api.DataKeyPairRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	u := custodian.Use{Context: in.Context, Spec: hsm.Spec(in.Algorithm), WithPlain: in.Plaintext, ReasonCode: in.Reason}
	return x.use(u, access.DataKeyPair, appendDataKeyPair)
}

func signUse(in *api.SignRequest) custodian.Use {
	return custodian.Use{Message: in.Message, Digest: in.Digest, Hash: hsm.Hash(in.Hash), ReasonCode: in.Reason}
}

func verifyUse(in *api.VerifyRequest) custodian.Use {
	return custodian.Use{Version: in.Version, Message: in.Message, Digest: in.Digest, Hash: hsm.Hash(in.Hash),
		Signature: in.Signature, ReasonCode: in.Reason}
}

func macUse(in *api.MACRequest) custodian.Use {
	return custodian.Use{Message: in.Message, ReasonCode: in.Reason}
}

func verifyMACUse(in *api.VerifyMACRequest) custodian.Use {
	return custodian.Use{Version: in.Version, Message: in.Message, Signature: in.MAC, ReasonCode: in.Reason}
}

func appendDataKeyPair(b []byte, u *custodian.Used) []byte {
	b = appendText(append(appendKey(b, u), `,"algorithm":`...), string(u.Spec))
	b = appendBase64(append(b, `,"public":"`...), u.Public)
	if len(u.Plaintext) > 0 {
		b = appendBase64(append(b, `,"plaintext":"`...), u.Plaintext)
	}
	b = appendBase64(append(b, `,"ciphertext":"`...), u.Ciphertext)
	return append(appendWarning(b, u.Warning), '}')
}

func appendSigned(b []byte, u *custodian.Used) []byte {
	b = appendText(append(appendKey(b, u), `,"algorithm":`...), string(u.Spec))
	if u.Hash != hsm.NoHash {
		b = appendText(append(b, `,"hash":`...), string(u.Hash))
	}
	b = appendBase64(append(b, `,"signature":"`...), u.Signature)
	return append(appendWarning(b, u.Warning), '}')
}

func appendMAC(b []byte, u *custodian.Used) []byte {
	b = appendText(append(appendKey(b, u), `,"algorithm":`...), string(u.Spec))
	b = appendBase64(append(b, `,"mac":"`...), u.Signature)
	return append(appendWarning(b, u.Warning), '}')
}

// appendVerified writes the answer of verify and verify-mac.
func appendVerified(b []byte, u *custodian.Used) []byte {
	b = append(appendKey(b, u), `,"valid":`...)
	if u.Valid {
		return append(b, "true}"...)
	}
	return append(b, "false}"...)
}
