package operation

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
)

// maxReason bounds reasons and findings, in characters.
const maxReason = 500

// decode reads an operation's parameters strictly: a member that T does not have, or one of another type, is
// an InputError that names it.
func decode[T any](in Input) (T, error) {
	var out T
	err := json.Unmarshal(in.Params, &out, json.RejectUnknownMembers(true))
	if err == nil {
		return out, nil
	}
	bad := &custodian.InputError{Field: "params", Problem: "not readable", Allowed: "a JSON object with the members of this operation"}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return out, bad
	}
	if field := fieldOf(semantic.JSONPointer); field != "" {
		bad.Field = field
	}
	switch {
	case errors.Is(err, json.ErrUnknownName):
		bad.Problem, bad.Allowed = "unknown member", "the members of this operation"
	case semantic.GoType != nil:
		bad.Problem, bad.Allowed = "of the wrong type or form", formOf(semantic.GoType.String())
	}
	return out, bad
}

// fieldOf writes a JSON pointer as the path that errors name: "grants[0].key".
func fieldOf(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		switch {
		case index(token):
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + clean(token))
		default:
			b.WriteString(clean(token))
		}
	}
	return b.String()
}

func index(token string) bool {
	ok, err := regexp.MatchString(`^(0|[1-9][0-9]{0,5})$`, token)
	return err == nil && ok
}

// formOf says what a member must look like, by the Go type that takes it.
func formOf(goType string) string {
	switch goType {
	case "bool":
		return "true or false"
	case "int", "uint32":
		return "a whole number, not negative where it counts versions"
	case "time.Time":
		return "a time as 2006-01-02T15:04:05Z (RFC 3339)"
	case "[]uint8":
		return "standard base64"
	}
	return "a value of the documented type"
}

// clean makes text from outside fit to be shown in an error.
func clean(s string) string { return ledger.CleanText(s[:min(len(s), 64)]) }

// why is the reason that is recorded: the one among the parameters, or else the proposal's.
func why(field, given string, in Input) (string, error) {
	if given == "" {
		given = in.Reason
	}
	return given, key.CheckText(field, given, maxReason, false)
}

func unknown(field, id, what string) error {
	return &custodian.InputError{Field: field, Problem: fmt.Sprintf("%q is not known", clean(id)), Allowed: "the id of a registered " + what}
}

func taken(field, id, what string) error {
	return &custodian.InputError{Field: field, Problem: fmt.Sprintf("%q is taken", clean(id)), Allowed: "an id that no " + what + " has or had"}
}

// within puts the name of a nested object before the field that an error names.
func within(object string, err error) error {
	var field *key.FieldError
	var input *custodian.InputError
	switch {
	case errors.As(err, &field):
		return &key.FieldError{Field: object + "." + field.Field, Problem: field.Problem, Allowed: field.Allowed}
	case errors.As(err, &input):
		return &custodian.InputError{Field: object + "." + input.Field, Problem: input.Problem, Allowed: input.Allowed}
	}
	return err
}
