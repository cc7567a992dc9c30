package statement_test

import (
	"fmt"
	"strings"
	"testing"

	"conclave/ceremony/statement"

	"github.com/stretchr/testify/require"
)

func TestInvariant02_StrictJSON(t *testing.T) {
	cases := map[string]struct {
		text string
		want error
	}{
		"duplicate":            {`{"a":1,"a":2}`, statement.ErrSyntax},
		"duplicate by escape":  {`{"a":1,"\u0061":2}`, statement.ErrSyntax},
		"nested duplicate":     {`{"p":[{"a":1,"a":1}]}`, statement.ErrSyntax},
		"invalid UTF-8":        {"{\"a\":\"\xff\"}", statement.ErrSyntax},
		"lone surrogate":       {`{"a":"\ud800"}`, statement.ErrSyntax},
		"float":                {`{"a":1.0}`, statement.ErrNumber},
		"exponent":             {`{"a":1e2}`, statement.ErrNumber},
		"beyond 2^53":          {`{"a":9007199254740993}`, statement.ErrNumber},
		"below -2^53":          {`{"a":-9007199254740993}`, statement.ErrNumber},
		"far beyond":           {`[` + strings.Repeat("9", 400) + `]`, statement.ErrNumber},
		"leading zero":         {`[01]`, statement.ErrSyntax},
		"NaN":                  {`[NaN]`, statement.ErrSyntax},
		"truncated":            {`{"a":`, statement.ErrSyntax},
		"two values":           {`{} {}`, statement.ErrSyntax},
		"comment":              {`{}//`, statement.ErrSyntax},
		"empty":                {``, statement.ErrSyntax},
		"byte order mark":      {"\ufeff{}", statement.ErrSyntax},
		"17 levels":            {strings.Repeat("[", 17) + strings.Repeat("]", 17), statement.ErrTooDeep},
		"thousands of levels":  {strings.Repeat("[", 60000), statement.ErrTooDeep},
		"too large":            {`"` + strings.Repeat("a", statement.MaxBytes) + `"`, statement.ErrTooLarge},
		"escape sequence":      {`{"a":"\u001b[2K"}`, statement.ErrControl},
		"carriage return":      {`{"a":"x\ry"}`, statement.ErrControl},
		"C1 control":           {`{"a":"\u0085"}`, statement.ErrControl},
		"control in name":      {`{"a\u202e":1}`, statement.ErrControl},
		"control deep in list": {`{"a":[[{"b":["\u2067"]}]]}`, statement.ErrControl},
	}
	for _, r := range []rune{0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, 0x200e, 0x200f, 0x061c} {
		cases[fmt.Sprintf("U+%04X raw", r)] = struct {
			text string
			want error
		}{`{"a":"x` + string(r) + `"}`, statement.ErrControl}
		cases[fmt.Sprintf("U+%04X escaped", r)] = struct {
			text string
			want error
		}{fmt.Sprintf(`{"a":"x\u%04x"}`, r), statement.ErrControl}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, statement.CheckJSON([]byte(c.text), statement.MaxBytes), c.want)
			_, err := statement.Canonical([]byte(c.text))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestStrictJSONAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `null`, `"é 漢 😀"`, `{"a":[true,false,null,-9007199254740992,9007199254740992]}`,
		`"two\nlines\tand a tab"`, strings.Repeat("[", 16) + strings.Repeat("]", 16), " {\n} ",
	} {
		require.NoError(t, statement.CheckJSON([]byte(text), statement.MaxBytes), text)
	}
}

func TestCanonical(t *testing.T) {
	in := []byte(` { "b" : [ 1 , -0 ] , "a" : "\u00e9\/" } `)
	keep := string(in)
	out, err := statement.Canonical(in)
	require.NoError(t, err)
	require.Equal(t, `{"a":"é/","b":[1,0]}`, string(out))
	require.Equal(t, keep, string(in), "input is not changed")
}

func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x",null,{"b":-5}]}`))
	f.Add([]byte(`{"a":"\u202e"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if statement.CheckJSON(data, statement.MaxBytes) != nil {
			return
		}
		once, err := statement.Canonical(data)
		require.NoError(t, err)
		twice, err := statement.Canonical(once)
		require.NoError(t, err)
		require.Equal(t, once, twice)
	})
}
