package httpapi

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/ledger"
)

// maxDepth of a body's nesting; params of operations may take 16 of it.
const maxDepth = 24

// decode reads a body strictly: unknown and repeated members, invalid UTF-8 and trailing data are refused.
// The error names the field and never repeats a value.
func (x *exchange) decode(into any) error {
	if len(x.body) == 0 {
		return &custodian.InputError{Field: "body", Problem: "empty", Allowed: "a JSON object"}
	}
	if !shallow(x.body) {
		return &custodian.InputError{Field: "body", Problem: "nested too deeply", Allowed: fmt.Sprintf("at most %d levels", maxDepth)}
	}
	if err := json.Unmarshal(x.body, into, json.RejectUnknownMembers(true)); err != nil {
		return inputError(err)
	}
	return nil
}

// shallow says whether JSON stays within maxDepth. Text that is no JSON is the parser's to refuse.
func shallow(b []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// inputError names what is wrong with a body.
func inputError(err error) error {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntactic):
		return &custodian.InputError{Field: fieldOf(syntactic.JSONPointer), Problem: "given twice", Allowed: "each member once"}
	case errors.As(err, &syntactic):
		return &custodian.InputError{Field: "body", Problem: "not JSON, at byte " + strconv.FormatInt(syntactic.ByteOffset, 10), Allowed: "one JSON object in UTF-8 (RFC 8259)"}
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &semantic):
		return &custodian.InputError{Field: fieldOf(semantic.JSONPointer), Problem: "unknown member", Allowed: "the members that the API documents"}
	case errors.As(err, &semantic):
		return &custodian.InputError{Field: fieldOf(semantic.JSONPointer), Problem: "JSON " + semantic.JSONKind.String() + " that does not fit", Allowed: allowedFor(semantic)}
	}
	return &custodian.InputError{Field: "body", Problem: "unreadable", Allowed: "one JSON object"}
}

func allowedFor(e *json.SemanticError) string {
	if e.GoType == nil {
		return "the type that the API documents"
	}
	switch t := e.GoType.String(); t {
	case "[]uint8":
		return "standard base64 with padding (RFC 4648 section 4)"
	case "int", "int64", "uint64", "uint32":
		return "a whole number"
	case "string", "bool":
		return "a " + t
	case "time.Time":
		return "a time in RFC 3339"
	case "map[string]string":
		return "an object of strings"
	}
	return "the type that the API documents"
}

// fieldOf turns a JSON pointer into the form of the API's field names: items.3.bytes.
func fieldOf(p jsontext.Pointer) string {
	const most = 128
	s := strings.ReplaceAll(strings.TrimPrefix(string(p), "/"), "/", ".")
	if s == "" {
		return "body"
	}
	return ledger.CleanText(s[:min(len(s), most)])
}
