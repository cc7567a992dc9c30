package statement

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/strictjson"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// timeForm is the only spelling of a time: UTC with milliseconds (RFC 3339).
const timeForm = "2006-01-02T15:04:05.000Z"

// Bounds of text fields in bytes.
const (
	maxName  = 200
	minNonce = 22 // 128 bits in base64url
	maxNonce = 86 // 512 bits
)

func (s Statement) validate() error {
	names := []struct{ field, value string }{
		{"instance", s.Instance}, {"ceremony", s.Ceremony}, {"operation", s.Operation},
		{"target.type", s.Target.Type}, {"target.id", s.Target.ID}, {"policy", s.Policy},
		{"requester", s.Requester}, {"signer", s.Signer},
	}
	for _, n := range names {
		if err := checkName(n.field, n.value); err != nil {
			return err
		}
	}
	if !slices.Contains([]Decision{Approve, Reject, Acknowledge, Attend}, s.Decision) {
		return fmt.Errorf("%w decision: %q, allowed are approve, reject, acknowledge, attend", ErrField, clip(string(s.Decision)))
	}
	if s.Mode != Production && s.Mode != Development {
		return fmt.Errorf("%w mode: %q, allowed are production, development", ErrField, clip(string(s.Mode)))
	}
	if s.Target.GovRevision > strictjson.MaxInteger || s.Checkpoint.Size > strictjson.MaxInteger {
		return fmt.Errorf("%w target.gov_revision or checkpoint.size: %w", ErrField, strictjson.ErrNumber)
	}
	if err := checkNonce(s.Nonce); err != nil {
		return err
	}
	if err := checkPeriod(s.IssuedAt, s.ExpiresAt); err != nil {
		return err
	}
	return checkParams(s.Params)
}

func checkParams(params []byte) error {
	if jsontext.Value(params).Kind() != '{' {
		return fmt.Errorf("%w params: must be a JSON object", ErrField)
	}
	if err := strictjson.Check(params, strictjson.MaxBytes); err != nil {
		return fmt.Errorf("%w params: %w", ErrField, err)
	}
	return nil
}

// checkName holds identifiers to printable ASCII: they look on every screen like what they are.
func checkName(field, value string) error {
	if value == "" || len(value) > maxName || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%w %s: %q, allowed are 1 to %d printable ASCII characters without space", ErrField, field, clip(value), maxName)
	}
	return nil
}

func checkNonce(nonce string) error {
	if len(nonce) < minNonce || len(nonce) > maxNonce || strings.ContainsFunc(nonce, notBase64URL) {
		return fmt.Errorf("%w nonce: %q, allowed are %d to %d base64url characters", ErrField, clip(nonce), minNonce, maxNonce)
	}
	return nil
}

func notBase64URL(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

func checkPeriod(issued, expires time.Time) error {
	if y := issued.Year(); y < 2000 || y > 9999 {
		return fmt.Errorf("%w issued_at: year %d, allowed are 2000 to 9999", ErrField, y)
	}
	if y := expires.Year(); y > 9999 {
		return fmt.Errorf("%w expires_at: year %d, allowed are 2000 to 9999", ErrField, y)
	}
	if !expires.Truncate(time.Millisecond).After(issued.Truncate(time.Millisecond)) {
		return fmt.Errorf("%w expires_at: must be after issued_at", ErrField)
	}
	return nil
}

func formatTime(t time.Time) string { return t.UTC().Format(timeForm) }

func parseTime(field, text string) (time.Time, error) {
	t, err := time.Parse(timeForm, text)
	if err != nil || formatTime(t) != text {
		return time.Time{}, fmt.Errorf("%w %s: %q, the form is 2006-01-02T15:04:05.000Z", ErrField, field, clip(text))
	}
	return t, nil
}

func parseRoot(root *[32]byte, text string) error {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(root) || base64.StdEncoding.EncodeToString(b) != text {
		return fmt.Errorf("%w checkpoint.root: must be 32 bytes in standard base64", ErrField)
	}
	copy(root[:], b)
	return nil
}

// requireMembers checks that the object at parent has every member and that none is null: a missing
// member is a refusal, never a zero. parent is "" for the document itself.
func requireMembers(data []byte, parent string, names ...string) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(data, &members); err != nil {
		return fmt.Errorf("%w %s: %w: %w", ErrField, parent, strictjson.ErrSyntax, err)
	}
	for _, name := range names {
		if v, ok := members[name]; !ok || v.Kind() == 'n' {
			return fmt.Errorf("%w %s: missing", ErrField, parent+name)
		}
	}
	return nil
}

func requireStatementMembers(data []byte) error {
	err := requireMembers(data, "", "ceremony", "checkpoint", "decision", "expires_at", "instance",
		"issued_at", "mode", "nonce", "operation", "params", "policy", "requester", "signer", "target", "v")
	if err != nil {
		return err
	}
	var parts struct {
		Checkpoint jsontext.Value `json:"checkpoint"`
		Target     jsontext.Value `json:"target"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return fmt.Errorf("%w: %w", strictjson.ErrSyntax, err)
	}
	if err := requireMembers(parts.Checkpoint, "checkpoint.", "root", "size"); err != nil {
		return err
	}
	return requireMembers(parts.Target, "target.", "gov_revision", "id", "type")
}

// clip keeps hostile input out of error messages.
func clip(text string) string { return fmt.Sprintf("%.40s", text) }
