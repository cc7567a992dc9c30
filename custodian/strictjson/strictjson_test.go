package strictjson_test

import (
	"fmt"
	"strings"
	"testing"

	"conclave/custodian/strictjson"

	"github.com/stretchr/testify/require"
)

func TestInvariant02_StrictJSON(t *testing.T) {
	cases := map[string]struct {
		text string
		want error
	}{
		"duplicate":            {`{"a":1,"a":2}`, strictjson.ErrSyntax},
		"duplicate by escape":  {`{"a":1,"\u0061":2}`, strictjson.ErrSyntax},
		"nested duplicate":     {`{"p":[{"a":1,"a":1}]}`, strictjson.ErrSyntax},
		"invalid UTF-8":        {"{\"a\":\"\xff\"}", strictjson.ErrSyntax},
		"lone surrogate":       {`{"a":"\ud800"}`, strictjson.ErrSyntax},
		"float":                {`{"a":1.0}`, strictjson.ErrNumber},
		"exponent":             {`{"a":1e2}`, strictjson.ErrNumber},
		"beyond 2^53":          {`{"a":9007199254740993}`, strictjson.ErrNumber},
		"below -2^53":          {`{"a":-9007199254740993}`, strictjson.ErrNumber},
		"far beyond":           {`[` + strings.Repeat("9", 400) + `]`, strictjson.ErrNumber},
		"leading zero":         {`[01]`, strictjson.ErrSyntax},
		"NaN":                  {`[NaN]`, strictjson.ErrSyntax},
		"truncated":            {`{"a":`, strictjson.ErrSyntax},
		"two values":           {`{} {}`, strictjson.ErrSyntax},
		"comment":              {`{}//`, strictjson.ErrSyntax},
		"empty":                {``, strictjson.ErrSyntax},
		"byte order mark":      {"\ufeff{}", strictjson.ErrSyntax},
		"17 levels":            {strings.Repeat("[", 17) + strings.Repeat("]", 17), strictjson.ErrTooDeep},
		"thousands of levels":  {strings.Repeat("[", 60000), strictjson.ErrTooDeep},
		"too large":            {`"` + strings.Repeat("a", strictjson.MaxBytes) + `"`, strictjson.ErrTooLarge},
		"escape sequence":      {`{"a":"\u001b[2K"}`, strictjson.ErrControl},
		"carriage return":      {`{"a":"x\ry"}`, strictjson.ErrControl},
		"C1 control":           {`{"a":"\u0085"}`, strictjson.ErrControl},
		"control in name":      {`{"a\u202e":1}`, strictjson.ErrControl},
		"control deep in list": {`{"a":[[{"b":["\u2067"]}]]}`, strictjson.ErrControl},
	}
	for _, r := range []rune{0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, 0x200e, 0x200f, 0x061c} {
		cases[fmt.Sprintf("U+%04X raw", r)] = struct {
			text string
			want error
		}{`{"a":"x` + string(r) + `"}`, strictjson.ErrControl}
		cases[fmt.Sprintf("U+%04X escaped", r)] = struct {
			text string
			want error
		}{fmt.Sprintf(`{"a":"x\u%04x"}`, r), strictjson.ErrControl}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, strictjson.Check([]byte(c.text), strictjson.MaxBytes), c.want)
			_, err := strictjson.Canonical([]byte(c.text))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestStrictJSONAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `null`, `"é 漢 😀"`, `{"a":[true,false,null,-9007199254740992,9007199254740992]}`,
		`"two\nlines\tand a tab"`, strings.Repeat("[", 16) + strings.Repeat("]", 16), " {\n} ",
	} {
		require.NoError(t, strictjson.Check([]byte(text), strictjson.MaxBytes), text)
	}
}

func TestCanonical(t *testing.T) {
	in := []byte(` { "b" : [ 1 , -0 ] , "a" : "\u00e9\/" } `)
	keep := string(in)
	out, err := strictjson.Canonical(in)
	require.NoError(t, err)
	require.Equal(t, `{"a":"é/","b":[1,0]}`, string(out))
	require.Equal(t, keep, string(in), "input is not changed")
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x",null,{"b":-5}]}`))
	f.Add([]byte(`{"a":"\u202e"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if strictjson.Check(data, strictjson.MaxBytes) != nil {
			return
		}
		once, err := strictjson.Canonical(data)
		require.NoError(t, err)
		twice, err := strictjson.Canonical(once)
		require.NoError(t, err)
		require.Equal(t, once, twice)
	})
}
