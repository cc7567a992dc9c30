package policies

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever two questions differ in, they are different questions, where rules read all of it.
func TestKeptAnswersAreFoundByWholeQuestions(t *testing.T) {
	k := &kept{readsNow: true, readsTarget: true}
	in := QuorumInput{}
	seen := map[string]string{string(k.key(&in)): "nothing"}
	var vary func(v reflect.Value, path string)
	vary = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field, name := v.Field(i), path+"."+v.Type().Field(i).Name
			before := reflect.ValueOf(field.Interface())
			switch value := field.Interface().(type) {
			case time.Time:
				field.Set(reflect.ValueOf(time.UnixMicro(1)))
			case []string:
				field.Set(reflect.ValueOf([]string{"x"}))
			case bool:
				field.SetBool(!value)
			case int:
				field.SetInt(1)
			default:
				if field.Kind() == reflect.Struct {
					vary(field, name)
					continue
				}
				field.SetString("x")
			}
			key := string(k.key(&in))
			require.Empty(t, seen[key], "%s is told apart from nothing else", name)
			seen[key] = name
			field.Set(before)
		}
	}
	vary(reflect.ValueOf(&in).Elem(), "QuorumInput")
	require.Greater(t, len(seen), 12)
}

// The program's bundle reads neither the time nor the target's id: its answers hold for all of them.
func TestQuorumsOfTheBundleDependOnNoTime(t *testing.T) {
	e, err := New(t.Context(), Options{})
	require.NoError(t, err)
	require.False(t, e.quorums.readsNow)
	require.False(t, e.quorums.readsTarget)
}

// What is kept is bounded.
func TestKeptAnswersAreBounded(t *testing.T) {
	k := &kept{answers: map[string]keptAnswer{}}
	for i := range 2*maxKept + 1 {
		in := QuorumInput{Target: QuorumTarget{Total: i}}
		_, err := k.get(&in, func() (QuorumDecision, error) { return QuorumDecision{Approvals: i}, nil })
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(k.answers), maxKept)
}
