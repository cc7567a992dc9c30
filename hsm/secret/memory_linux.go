//go:build linux

package secret

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newRegion maps whole pages of its own for n bytes, locks them and leaves them out of core dumps. Past
// the lock limit (RLIMIT_MEMLOCK) the mapping is kept unlocked: still out of dumps and off the Go heap.
func newRegion(n int) *region {
	if n == 0 {
		return heapRegion(0)
	}
	page := os.Getpagesize()
	size := (n + page - 1) / page * page
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return heapRegion(n)
	}
	pages := unsafe.Slice((*byte)(base), size)
	locked := unix.Mlock(pages) == nil
	// A kernel without the advice leaves the process-wide settings of Harden as the protection.
	_ = unix.Madvise(pages, unix.MADV_DONTDUMP)
	return &region{base: base, size: n, mapped: size, locked: locked}
}

// unmap gives the pages back. If the kernel refuses, they stay mapped, wiped and harmless.
func unmap(r *region) {
	if r.mapped > 0 {
		_ = unix.MunmapPtr(r.base, uintptr(r.mapped))
	}
}
