package control_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/reports/control"
)

func TestControlsAreFoundOrTheNearestNamed(t *testing.T) {
	frameworks, err := control.Frameworks()
	require.NoError(t, err)
	for _, f := range frameworks {
		catalogue, err := control.Load(f)
		require.NoError(t, err)
		for _, c := range catalogue.Controls {
			found, err := control.Find(f + ":" + c.ID)
			require.NoError(t, err)
			require.Equal(t, c.Title, found.Title)
		}
	}
	var unknown *control.UnknownControlError
	_, err = control.Find("pci-dss-4.0.1:3.7.88")
	require.ErrorAs(t, err, &unknown)
	require.Len(t, unknown.Nearest, 3)
	require.Contains(t, unknown.Nearest[0], "3.7.8 (")
	_, err = control.Find("nist-800-53r5:ac6")
	require.ErrorAs(t, err, &unknown)
	require.Contains(t, unknown.Nearest[0], "AC-6")
	_, err = control.Find("pci-dss-4.0.1:")
	require.ErrorAs(t, err, &unknown)
	var framework *control.UnknownFrameworkError
	for _, name := range []string{"pci-dss-4.0:3.7.8", "", ":", "3.7.8"} {
		_, err = control.Find(name)
		require.ErrorAs(t, err, &framework, name)
		require.Contains(t, framework.Known, "pci-dss-4.0.1")
	}
}
