package bundle

import (
	"context"
	"io"

	"conclave/reports"
)

// BuildWithin is Build for an instance that is small against its bounds.
func BuildWithin(ctx context.Context, w io.Writer, src reports.Source, r *reports.Report, by Identity, control, entries, leaves int) error {
	limits := theBounds()
	limits.control, limits.entries, limits.leaves = control, uint64(entries), uint64(leaves)
	return build(ctx, w, src, r, by, limits)
}
