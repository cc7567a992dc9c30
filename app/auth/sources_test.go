package auth

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/custodiantest"
)

func TestSourcesAreBoundedOneByOneAndTogether(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	s := NewSources(c.Clock)
	served := func(origin string, calls int) (n int) {
		for range calls {
			if s.Allow(origin) {
				n++
			}
		}
		return n
	}
	require.Equal(t, sourceBurst, served("192.0.2.1", 2*sourceBurst))
	require.Equal(t, sourceBurst, served("2001:db8::1", sourceBurst))
	require.Zero(t, served("2001:db8::ffff", 10), "one subscriber, whatever address of theirs")
	c.Clock.Advance(time.Second)
	require.Equal(t, int(sourceRate), served("192.0.2.1", sourceBurst))
	total := 0
	for i := range maxSources + 10 {
		total += served(fmt.Sprintf("10.0.%d.%d", i/256, i%256), 2)
	}
	require.LessOrEqual(t, total, everybodyMost)
	require.LessOrEqual(t, len(s.sources), maxSources)
}
