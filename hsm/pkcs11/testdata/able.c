/* Test equipment: a PKCS #11 module with what SoftHSM lacks for keys made elsewhere, and SoftHSM otherwise: RSA-OAEP with
   SHA-256 (RFC 8017, 7.1.2), CKM_XOR_BASE_AND_DATA and, built with AT_ONCE, CKM_RSA_AES_KEY_WRAP. Keys lie in SoftHSM's
   token; what SoftHSM can not do is done in this file, so that the parameters of the driver are read by other code. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long ulong;
typedef ulong (*function)();
struct list { unsigned char version[8]; function f[68]; };
struct mechanism { ulong type; void *parameter; ulong length; };
struct attribute { ulong type; void *value; ulong length; };
struct oaep { ulong hash, mgf, source; void *data; ulong length; };
struct rsa_aes { ulong bits; struct oaep *oaep; };
struct string_data { unsigned char *data; ulong length; };

enum { MECHANISM_LIST = 7, MECHANISM_INFO = 8, CREATE = 20, DESTROY = 22, GET_ATTRIBUTE = 24, ENCRYPT_INIT = 29, DECRYPT_INIT = 33, DECRYPT = 34,
	DIGEST_INIT = 37, DIGEST = 38, GENERATE_PAIR = 59, UNWRAP = 61, DERIVE = 62 };
enum { RSA_X_509 = 3, RSA_OAEP = 9, SHA_1 = 0x220, SHA256 = 0x250, XOR = 0x364, RSA_AES = 0x1054, WRAP_PAD = 0x210A };
enum { A_CLASS = 0, A_TOKEN = 1, A_VALUE = 0x11, A_KEY_TYPE = 0x100, A_SENSITIVE = 0x103, A_DECRYPT = 0x105, A_UNWRAP = 0x107, A_MODULUS = 0x120, A_VALUE_LEN = 0x161, A_EXTRACTABLE = 0x162 };
#define A_ALLOWED 0x40000600UL
#define MOST 64 /* attributes */

static struct list mine, *real;

static int valid(struct oaep *p) { return p != NULL && p->hash == SHA256 && p->mgf == 2 && p->source == 1 && p->length == 0; }

/* a template with an attribute put in the place of others */
static ulong with(struct attribute *out, struct attribute *in, ulong n, ulong drop1, ulong drop2, struct attribute add) {
	ulong m = 0;
	for (ulong i = 0; i < n && m < MOST - 1; i++)
		if (in[i].type != drop1 && in[i].type != drop2)
			out[m++] = in[i];
	out[m++] = add;
	return m;
}

/* values of what was put into the token by its value: what XOR is computed of */
#define VALUES 1024
static struct { ulong handle, length; unsigned char value[64]; } values[VALUES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(ulong handle, unsigned char *value, ulong length) {
	static int next;
	if (length > sizeof values[0].value)
		return;
	pthread_mutex_lock(&lock);
	values[next].handle = handle;
	values[next].length = length;
	memcpy(values[next].value, value, length);
	next = (next + 1) % VALUES;
	pthread_mutex_unlock(&lock);
}

static ulong create(ulong session, struct attribute *t, ulong n, ulong *out) {
	ulong rv = real->f[CREATE](session, t, n, out);
	for (ulong i = 0; rv == 0 && i < n; i++)
		if (t[i].type == A_VALUE)
			keep(*out, t[i].value, t[i].length);
	return rv;
}

static ulong mechanism_list(ulong slot, ulong *list, ulong *count) {
	static const ulong more[] = {XOR,
#ifdef AT_ONCE
		RSA_AES
#endif
	};
	ulong n = sizeof more / sizeof *more, room = *count, rv;
	if (list != NULL && room < n)
		return 0x150; /* CKR_BUFFER_TOO_SMALL */
	*count = list == NULL ? 0 : room - n;
	rv = real->f[MECHANISM_LIST](slot, list, count);
	if (rv == 0 && list != NULL)
		memcpy(list + *count, more, sizeof more);
	*count += n;
	return rv;
}

static ulong mechanism_info(ulong slot, ulong type, ulong *info) {
	if (type != XOR && type != RSA_AES)
		return real->f[MECHANISM_INFO](slot, type, info);
	info[0] = 0, info[1] = 4096;
	info[2] = type == XOR ? 0x80000 : 0x60000; /* derive; wrap and unwrap */
	return 0;
}

static ulong encrypt_init(ulong session, struct mechanism *m, ulong key) {
	struct oaep sha1 = {SHA_1, 1, 1, NULL, 0};
	struct mechanism other = {RSA_OAEP, &sha1, sizeof sha1};
	if (m->type != RSA_OAEP)
		return real->f[ENCRYPT_INIT](session, m, key);
	if (!valid(m->parameter))
		return 0x71; /* CKR_MECHANISM_PARAM_INVALID */
	return real->f[ENCRYPT_INIT](session, &other, key); /* asked whether it would */
}

/* wrapping pairs decrypt, for this file to take the padding off */
static ulong generate_pair(ulong session, void *m, struct attribute *pub, ulong np, struct attribute *priv, ulong n, ulong *hp, ulong *h) {
	unsigned char yes = 1;
	struct attribute other[MOST], may = {A_DECRYPT, &yes, 1};
	for (ulong i = 0; i < n; i++)
		if (priv[i].type == A_UNWRAP && *(unsigned char *)priv[i].value) {
			n = with(other, priv, n, A_DECRYPT, A_ALLOWED, may);
			priv = other;
			break;
		}
	return real->f[GENERATE_PAIR](session, m, pub, np, priv, n, hp, h);
}

static ulong mask(ulong session, unsigned char *seed, ulong seeds, unsigned char *out, ulong n) {
	struct mechanism sha = {SHA256, NULL, 0};
	unsigned char in[1024], hash[32];
	for (ulong i = 0, at = 0; at < n; i++, at += 32) {
		ulong length = 32, rv = real->f[DIGEST_INIT](session, &sha);
		memcpy(in, seed, seeds);
		in[seeds] = in[seeds + 1] = in[seeds + 2] = 0, in[seeds + 3] = i;
		if (rv == 0)
			rv = real->f[DIGEST](session, in, seeds + 4, hash, &length);
		if (rv != 0)
			return rv;
		for (ulong j = 0; j < 32 && at + j < n; j++)
			out[at + j] ^= hash[j];
	}
	return 0;
}

/* RSAES-OAEP-DECRYPT of RFC 8017 with SHA-256 and no label */
static ulong oaep_open(ulong session, ulong key, unsigned char *in, ulong n, unsigned char *out, ulong *length) {
	static const unsigned char empty[32] = {0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
		0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};
	struct mechanism raw = {RSA_X_509, NULL, 0};
	unsigned char em[512];
	ulong k = sizeof em, at, rv;
	rv = real->f[DECRYPT_INIT](session, &raw, key);
	if (rv == 0)
		rv = real->f[DECRYPT](session, in, n, em, &k);
	if (rv != 0 || k != n || em[0] != 0)
		return rv != 0 ? rv : 0x110; /* CKR_WRAPPED_KEY_INVALID */
	if ((rv = mask(session, em + 33, k - 33, em + 1, 32)) || (rv = mask(session, em + 1, 32, em + 33, k - 33)))
		return rv;
	for (at = 65; at < k && em[at] == 0; at++)
		;
	if (memcmp(em + 33, empty, 32) != 0 || at == k || em[at] != 1 || k - at - 1 > 64)
		return 0x110;
	*length = k - at - 1;
	memcpy(out, em + at + 1, *length);
	return 0;
}

/* SoftHSM does not say how long a key is that it has unwrapped, so it is put in anew by its value */
static ulong unwrap_padded(ulong session, ulong key, unsigned char *in, ulong n, struct attribute *t, ulong nt, ulong *out) {
	struct mechanism pad = {WRAP_PAD, NULL, 0};
	unsigned char value[64], yes = 1, no = 0;
	ulong open, rv, class = 4, type = 0x10;
	struct attribute readable[] = {{A_CLASS, &class, sizeof class}, {A_KEY_TYPE, &type, sizeof type}, {A_TOKEN, &no, 1}, {A_SENSITIVE, &no, 1}, {A_EXTRACTABLE, &yes, 1}};
	struct attribute other[MOST], is = {A_VALUE, value, sizeof value};
	if ((rv = real->f[UNWRAP](session, &pad, key, in, n, readable, 5UL, &open)) != 0)
		return rv;
	rv = real->f[GET_ATTRIBUTE](session, open, &is, 1UL);
	real->f[DESTROY](session, open);
	return rv != 0 ? rv : real->f[CREATE](session, other, with(other, t, nt, A_VALUE, A_VALUE_LEN, is), out);
}

static ulong unwrap(ulong session, struct mechanism *m, ulong key, unsigned char *in, ulong n, struct attribute *t, ulong nt, ulong *out) {
	struct attribute other[MOST], modulus = {A_MODULUS, NULL, 0};
	unsigned char value[64], yes = 1, no = 0;
	ulong length, rv, between, class = 4, type = 0x1f;
	if (m->type == RSA_OAEP) {
		if (!valid(m->parameter))
			return 0x71;
		if ((rv = oaep_open(session, key, in, n, value, &length)) != 0)
			return rv;
		struct attribute is = {A_VALUE, value, length};
		return real->f[CREATE](session, other, with(other, t, nt, A_VALUE, A_VALUE_LEN, is), out);
	}
	if (m->type == WRAP_PAD)
		return unwrap_padded(session, key, in, n, t, nt, out);
	if (m->type != RSA_AES)
		return real->f[UNWRAP](session, m, key, in, n, t, nt, out);
	struct rsa_aes *p = m->parameter;
	if (m->length != sizeof *p || p->bits != 256 || !valid(p->oaep))
		return 0x71;
	rv = real->f[GET_ATTRIBUTE](session, key, &modulus, 1UL);
	if (rv != 0 || n <= modulus.length)
		return rv != 0 ? rv : 0x112; /* CKR_WRAPPED_KEY_LEN_RANGE */
	if ((rv = oaep_open(session, key, in, modulus.length, value, &length)) != 0 || length != 32)
		return rv != 0 ? rv : 0x110;
	struct attribute aes[] = {{A_CLASS, &class, sizeof class}, {A_KEY_TYPE, &type, sizeof type}, {A_TOKEN, &no, 1}, {A_UNWRAP, &yes, 1}, {A_VALUE, value, length}};
	if ((rv = real->f[CREATE](session, aes, 5UL, &between)) != 0)
		return rv;
	rv = unwrap_padded(session, between, in + modulus.length, n - modulus.length, t, nt, out);
	real->f[DESTROY](session, between);
	return rv;
}

static ulong derive(ulong session, struct mechanism *m, ulong base, struct attribute *t, ulong nt, ulong *out) {
	struct attribute other[MOST];
	unsigned char value[64];
	ulong length = 0;
	struct string_data *p = m->parameter;
	if (m->type != XOR)
		return real->f[DERIVE](session, m, base, t, nt, out);
	if (m->length != sizeof *p)
		return 0x71;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < VALUES; i++)
		if (values[i].handle == base) {
			length = values[i].length;
			memcpy(value, values[i].value, length);
		}
	pthread_mutex_unlock(&lock);
	if (length == 0)
		return 0x60; /* CKR_KEY_HANDLE_INVALID */
	if (p->length < length)
		length = p->length;
	for (ulong i = 0; i < length; i++)
		value[i] ^= p->data[i];
	struct attribute is = {A_VALUE, value, length};
	return create(session, other, with(other, t, nt, A_VALUE, A_VALUE_LEN, is), out);
}

ulong C_GetFunctionList(struct list **out) {
	void *lib = dlopen(getenv("ABLE_MODULE"), RTLD_NOW | RTLD_LOCAL);
	ulong (*get)(struct list **) = lib == NULL ? NULL : (ulong (*)(struct list **))dlsym(lib, "C_GetFunctionList");
	if (get == NULL || get(&real) != 0)
		return 5;
	mine = *real;
	mine.f[MECHANISM_LIST] = (function)mechanism_list;
	mine.f[MECHANISM_INFO] = (function)mechanism_info;
	mine.f[CREATE] = (function)create;
	mine.f[ENCRYPT_INIT] = (function)encrypt_init;
	mine.f[GENERATE_PAIR] = (function)generate_pair;
	mine.f[UNWRAP] = (function)unwrap;
	mine.f[DERIVE] = (function)derive;
	*out = &mine;
	return 0;
}
