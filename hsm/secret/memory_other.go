//go:build !linux

package secret

// newRegion uses the ordinary heap: page locking is implemented for Linux only.
func newRegion(n int) *region { return heapRegion(n) }

// unmap has nothing to give back: the heap's memory is the garbage collector's.
func unmap(*region) {}
