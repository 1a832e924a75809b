/*
 * Preloaded into user-mode Linux 6.1 so that it runs on processors whose extended register state is larger than it knows.
 *
 * It saves and restores the floating-point registers of its processes with PTRACE_GETREGSET and PTRACE_SETREGSET, in a
 * buffer of 2696 bytes: the state up to AVX-512 and protection keys. The host refuses to set less than the whole state
 * (EFAULT), and with AMX the whole is some 11 KB; the guest then dies at its first context switch ("ptrace set fp regs
 * failed, errno = 14"). Linux 6.13 asks the host for the size; until then this pads what it sets.
 *
 * What lies beyond the guest's buffer is tile state, which the guest's processes cannot have asked for: clearing its bits
 * in the header (XSTATE_BV) gives it its initial value.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	PEEK_FIRST = 1, /* PTRACE_PEEKTEXT, PEEKDATA and PEEKUSER return the word in the C function, store it in the system call */
	PEEK_LAST = 3,
	GETREGSET = 0x4204,
	SETREGSET = 0x4205,
	NT_X86_XSTATE = 0x202,
	LEGACY_AND_HEADER_BYTES = 512 + 64,
	XSTATE_BV_OFFSET = 512,
	KNOWN_FEATURES = 0x3ff, /* x87 to protection keys */
};

/* Not on the stack: the kernel stacks of user-mode Linux are small. It traces from one thread, and not from interrupts. */
static unsigned char full[65536];
static size_t full_bytes;

static long raw(long request, long pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

static long set_xstate(int pid, struct iovec *given)
{
	if (full_bytes == 0) {
		struct iovec probe = {full, sizeof full};
		if (raw(GETREGSET, pid, (void *)NT_X86_XSTATE, &probe) < 0)
			return -1;
		full_bytes = probe.iov_len;
		memset(full, 0, sizeof full);
	}
	if (given->iov_len >= full_bytes || given->iov_len < LEGACY_AND_HEADER_BYTES)
		return raw(SETREGSET, pid, (void *)NT_X86_XSTATE, given);
	memcpy(full, given->iov_base, given->iov_len);
	uint64_t features;
	memcpy(&features, full + XSTATE_BV_OFFSET, sizeof features);
	features &= KNOWN_FEATURES;
	memcpy(full + XSTATE_BV_OFFSET, &features, sizeof features);
	struct iovec padded = {full, full_bytes};
	return raw(SETREGSET, pid, (void *)NT_X86_XSTATE, &padded);
}

long ptrace(int request, ...)
{
	va_list ap;
	va_start(ap, request);
	int pid = va_arg(ap, int);
	void *addr = va_arg(ap, void *);
	void *data = va_arg(ap, void *);
	va_end(ap);
	if (request >= PEEK_FIRST && request <= PEEK_LAST) {
		long word;
		if (raw(request, pid, addr, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	if (request == SETREGSET && (long)addr == NT_X86_XSTATE)
		return set_xstate(pid, data);
	return raw(request, pid, addr, data);
}
