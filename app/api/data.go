package api

// The data plane.
type (
	DataKeyRequest struct {
		Bytes     int               `json:"bytes"`
		Context   map[string]string `json:"context,omitempty"`
		Plaintext bool              `json:"plaintext,omitempty"`
		Reason    string            `json:"reason,omitempty"` // reason code, where policy asks for one
	}
	DataKeyResponse struct {
		Key          string `json:"key"`
		Version      uint32 `json:"version"`
		Plaintext    []byte `json:"plaintext,omitempty"`
		Ciphertext   []byte `json:"ciphertext"`
		Warning      string `json:"warning,omitempty"`
		CacheSeconds int64  `json:"cache_seconds"`
	}
	EncryptRequest struct {
		Plaintext []byte            `json:"plaintext"`
		Context   map[string]string `json:"context,omitempty"`
		Reason    string            `json:"reason,omitempty"`
	}
	EncryptResponse struct {
		Key        string `json:"key"`
		Version    uint32 `json:"version"`
		Ciphertext []byte `json:"ciphertext"`
		Warning    string `json:"warning,omitempty"`
	}
	DecryptRequest struct {
		Ciphertext []byte            `json:"ciphertext"`
		Context    map[string]string `json:"context,omitempty"`
		AcceptRisk bool              `json:"accept_risk,omitempty"`
		Reason     string            `json:"reason,omitempty"`
		Version    uint32            `json:"version,omitempty"` // of the key-transport pair that an OAEP ciphertext is for
	}
	DecryptResponse struct {
		Key       string `json:"key"`
		Version   uint32 `json:"version"`
		Plaintext []byte `json:"plaintext"`
	}
	RewrapRequest struct {
		Ciphertext []byte            `json:"ciphertext"`
		Context    map[string]string `json:"context,omitempty"`
		NewContext map[string]string `json:"new_context,omitempty"`
		Reason     string            `json:"reason,omitempty"`
	}
	RewrapResponse = EncryptResponse

	// DataKeyPairRequest asks for a pair of an algorithm that makes pairs, e.g. "ecdsa-p256".
	DataKeyPairRequest struct {
		Algorithm string            `json:"algorithm"`
		Context   map[string]string `json:"context,omitempty"`
		Plaintext bool              `json:"plaintext,omitempty"`
		Reason    string            `json:"reason,omitempty"`
	}
	// DataKeyPairResponse: decrypting Ciphertext gives the private half again.
	DataKeyPairResponse struct {
		Key        string `json:"key"`
		Version    uint32 `json:"version"`
		Algorithm  string `json:"algorithm"`
		Public     []byte `json:"public"`              // SubjectPublicKeyInfo (RFC 5280), DER
		Plaintext  []byte `json:"plaintext,omitempty"` // PKCS #8 (RFC 5958), DER
		Ciphertext []byte `json:"ciphertext"`
		Warning    string `json:"warning,omitempty"`
	}
	// SignRequest carries the message, or its digest and the hash that made it.
	SignRequest struct {
		Message []byte `json:"message,omitempty"`
		Digest  []byte `json:"digest,omitempty"`
		Hash    string `json:"hash,omitempty"` // none: the first that goes with the key
		Reason  string `json:"reason,omitempty"`
	}
	SignResponse struct {
		Key       string `json:"key"`
		Version   uint32 `json:"version"` // keep it: verifying names it
		Algorithm string `json:"algorithm"`
		Hash      string `json:"hash,omitempty"`
		Signature []byte `json:"signature"`
		Warning   string `json:"warning,omitempty"`
	}
	VerifyRequest struct {
		Version   uint32 `json:"version"`
		Message   []byte `json:"message,omitempty"`
		Digest    []byte `json:"digest,omitempty"`
		Hash      string `json:"hash,omitempty"`
		Signature []byte `json:"signature"`
		Reason    string `json:"reason,omitempty"`
	}
	// VerifyResponse: a wrong signature or MAC is an answer, not an error.
	VerifyResponse struct {
		Key     string `json:"key"`
		Version uint32 `json:"version"`
		Valid   bool   `json:"valid"`
	}
	MACRequest struct {
		Message []byte `json:"message"`
		Reason  string `json:"reason,omitempty"`
	}
	MACResponse struct {
		Key       string `json:"key"`
		Version   uint32 `json:"version"`
		Algorithm string `json:"algorithm"`
		MAC       []byte `json:"mac"`
		Warning   string `json:"warning,omitempty"`
	}
	VerifyMACRequest struct {
		Version uint32 `json:"version"`
		Message []byte `json:"message"`
		MAC     []byte `json:"mac"`
		Reason  string `json:"reason,omitempty"`
	}

	// Batch forms: POST /v1/keys/{key}/datakeys/batch and so on; at most 100 items. An item fails alone.
	Batch[T any] struct {
		Items []T `json:"items"`
	}
	BatchResult[T any] struct {
		Items []BatchItem[T] `json:"items"`
	}
	BatchItem[T any] struct {
		Result *T       `json:"result,omitempty"`
		Error  *Problem `json:"error,omitempty"`
	}
)
