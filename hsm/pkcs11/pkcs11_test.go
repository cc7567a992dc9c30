//go:build cgo

package pkcs11_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm/hsmtest"
	"conclave/hsm/pkcs11"
)

func TestConformance(t *testing.T) {
	r := theRig(t)
	hsmtest.Run(t, func(t *testing.T) hsmtest.Fixture {
		keystore, activation := r.keystore(t, "suite-keystore")
		other, otherActivation := r.keystore(t, "suite-keystore-2")
		wrong, _, err := pkcs11.NewActivation()
		require.NoError(t, err)
		return hsmtest.Fixture{Keystore: keystore, Activation: activation, WrongActivation: wrong, Other: other, OtherActivation: otherActivation}
	})
}
