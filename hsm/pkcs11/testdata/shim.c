/* Test equipment: a PKCS #11 module that passes everything on to SoftHSM, but for what the test's control file says.
   The file is an array of entries, one for each function in the order of CK_FUNCTION_LIST. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FUNCTIONS 68
#define HANG 2

typedef unsigned long (*function)(unsigned long, unsigned long, unsigned long, unsigned long, unsigned long, unsigned long, unsigned long, unsigned long);
struct list { unsigned char version[8]; function f[FUNCTIONS]; };
struct control { volatile int32_t action, times; volatile uint64_t value; };

static struct list mine, *real;
static struct control *control;

static unsigned long call(int n, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e, unsigned long f, unsigned long g, unsigned long h) {
	struct control *x = &control[n];
	struct timespec pause = {0, 1000000};
	while (x->action == HANG)
		nanosleep(&pause, NULL);
	if (x->action == 1 && x->times != 0 && (x->times < 0 || __sync_fetch_and_sub(&x->times, 1) > 0))
		return x->value;
	return real->f[n](a, b, c, d, e, f, g, h);
}

#define PASS(n) static unsigned long pass##n(unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e, unsigned long f, unsigned long g, unsigned long h) { return call(n, a, b, c, d, e, f, g, h); }
#define ALL(X) X(1) X(4) X(6) X(7) X(9) X(10) X(11) X(12) X(15) X(18) X(19) X(22) X(24) X(26) X(27) X(29) X(30) X(33) X(34) X(42) X(43) X(58) X(59) X(60) X(61) X(62)
ALL(PASS)

unsigned long C_GetFunctionList(struct list **out) {
	unsigned long (*get)(struct list **);
	void *lib = dlopen(getenv("SHIM_MODULE"), RTLD_NOW | RTLD_LOCAL);
	int fd = open(getenv("SHIM_CONTROL"), O_RDWR);
	if (lib == NULL || fd < 0)
		return 5;
	get = (unsigned long (*)(struct list **))dlsym(lib, "C_GetFunctionList");
	control = mmap(NULL, FUNCTIONS * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (get == NULL || control == MAP_FAILED || get(&real) != 0)
		return 5;
	mine = *real;
#define SET(n) mine.f[n] = pass##n;
	ALL(SET)
	*out = &mine;
	return 0;
}
