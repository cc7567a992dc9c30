package store_test

import (
	"testing"

	"conclave/custodian/store"
)

// FuzzRowDecode: whatever stands in a row's body, decoding answers with a value or an error.
func FuzzRowDecode(f *testing.F) {
	for _, s := range []string{`{"name":"ada"}`, `{"name":"ada","name":"bob"}`, `{"nobody":1}`, "{\"name\":\"\xff\"}", `[]`, `{"level":1e99}`, ``, `{"name":"a"}{}`} {
		f.Add([]byte(s))
	}
	spec := store.JSON[person](true)
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := spec.Decode(body)
		if (err == nil) != (v != nil) {
			t.Fatalf("value %v with error %v", v, err)
		}
		if err == nil {
			if _, ok := v.(*person); !ok {
				t.Fatalf("decoded a %T", v)
			}
		}
	})
}

func TestRowDecodeIsStrict(t *testing.T) {
	spec := store.JSON[person](true)
	for _, body := range []string{`{"name":"ada","name":"bob"}`, `{"nobody":1}`, "{\"name\":\"\xff\"}", `[]`, ``, `{"name":"a"}{}`, `{"NAME":"a"}`} {
		if v, err := spec.Decode([]byte(body)); err == nil {
			t.Errorf("%q was read as %v", body, v)
		}
	}
}
