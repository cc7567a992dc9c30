package policies_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every Rego test passes, every line is covered, every file is formatted and every rule has its metadata.
func TestBundle(t *testing.T) {
	report, err := engine(t).RunTests(context.Background())
	require.NoError(t, err)
	for _, test := range report.Tests {
		if !test.Pass {
			t.Errorf("%s:%d: %s.%s: %s", test.File, test.Line, test.Package, test.Name, test.Problem)
		}
	}
	for _, file := range report.Files {
		if len(file.Missing) > 0 {
			t.Errorf("%s: coverage %.1f %%; no test evaluates lines %v", file.File, file.Percent, file.Missing)
		}
	}
	for _, finding := range report.Findings {
		t.Error(finding)
	}
	require.True(t, report.OK())
}
