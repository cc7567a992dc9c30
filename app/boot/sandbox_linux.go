package boot

import (
	"os"
	"syscall"
)

// confine asks the system to bound this process, and to end it before any other where memory runs short. Where it
// cannot, watchMemory remains.
func confine(memory uint64) {
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: 2 * memory, Max: 2 * memory})
	_ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{})
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
}
