package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"conclave/custodian"
)

// The answers of the data plane are written by hand, straight from what the door returned: package
// encoding/json would copy plaintext into buffers that nobody wipes. A test holds them against package api.

func appendDataKey(b []byte, u *custodian.Used) []byte {
	b = appendKey(b, u)
	if len(u.Plaintext) > 0 {
		b = appendBase64(append(b, `,"plaintext":"`...), u.Plaintext)
	}
	b = appendBase64(append(b, `,"ciphertext":"`...), u.Ciphertext)
	b = appendWarning(b, u.Warning)
	b = append(b, `,"cache_seconds":`...)
	return append(strconv.AppendInt(b, cacheSeconds(u.CacheFor), 10), '}')
}

// appendSealed writes the answer of encrypt and rewrap.
func appendSealed(b []byte, u *custodian.Used) []byte {
	b = appendBase64(append(appendKey(b, u), `,"ciphertext":"`...), u.Ciphertext)
	return append(appendWarning(b, u.Warning), '}')
}

// appendOpened writes the answer of decrypt.
func appendOpened(b []byte, u *custodian.Used) []byte {
	return append(appendBase64(append(appendKey(b, u), `,"plaintext":"`...), u.Plaintext), '}')
}

func appendKey(b []byte, u *custodian.Used) []byte {
	b = appendText(append(b, `{"key":`...), u.Key)
	return strconv.AppendUint(append(b, `,"version":`...), uint64(u.Version), 10)
}

func appendWarning(b []byte, warning string) []byte {
	if warning == "" {
		return b
	}
	return appendText(append(b, `,"warning":`...), warning)
}

func appendBase64(b, data []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(b, data), '"')
}

// appendText writes a JSON string. Ids and our own words need no escaping; anything else goes the long way.
func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // strings always encode
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
