package boot

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/segment"
)

// Whoever asked for a report is told when an archive is the reason why there is none, and no paths of the node.
func TestAskersAreToldThatAnArchiveIsMissing(t *testing.T) {
	lost := fmt.Errorf("reading entry 7: %w: /archive/one.segment.zip: no such file", segment.ErrUnreachable)
	require.Equal(t, "archived entries that it needs can not be read from the node that made it; its log says which file is missing", publicError(lost))
	require.Contains(t, publicError(fmt.Errorf("reading entry 7: %w", segment.ErrAltered)), "not what was recorded")
	require.Equal(t, "the log of the service says why", publicError(errors.New("/a/path: broken")))
}
