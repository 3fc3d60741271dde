#include "worker/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/sandbox_impl.h"

#if defined(__SANITIZE_ADDRESS__)
#define SHADOWED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHADOWED true
#endif
#endif
#ifndef SHADOWED
#define SHADOWED false /* the memory that a sanitizer maps is beyond every limit */
#endif

enum { DEFAULT_FILES = 256, MIB = 1024 * 1024, MAPPED_SLACK = 1024 };
static const rlim_t default_file_size = (rlim_t)1024 * MIB;

unsigned sandbox_supported(void)
{
    const int version = landlock_version();
    unsigned parts = SANDBOX_NO_NEW_PRIVS | SANDBOX_LIMITS;

    if (version > 0)
        parts |= SANDBOX_FILES;
    if (version >= LANDLOCK_HAS_SCOPES)
        parts |= SANDBOX_SIGNALS;
    if (calls_supported())
        parts |= SANDBOX_CALLS | SANDBOX_NETWORK | SANDBOX_SIGNALS;
    return parts;
}

const char *sandbox_part_name(enum sandbox_part part)
{
    switch (part) {
    case SANDBOX_NO_NEW_PRIVS:
        return "privileges (no_new_privs)";
    case SANDBOX_LIMITS:
        return "limits (rlimits)";
    case SANDBOX_FILES:
        return "files (Landlock)";
    case SANDBOX_CALLS:
        return "calls (seccomp)";
    case SANDBOX_NETWORK:
        return "network (seccomp)";
    case SANDBOX_SIGNALS:
        return "signals (seccomp)";
    default:
        return "unknown";
    }
}

void sandbox_missing(unsigned parts, unsigned have, char *out, size_t size)
{
    size_t len = 0;

    out[0] = '\0';
    for (unsigned part = 1; part <= SANDBOX_ALL; part <<= 1) {
        if (!(parts & part) || (have & part) || len >= size)
            continue;
        len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "",
                                sandbox_part_name((enum sandbox_part)part));
    }
}

/* --- limits --- */

static bool limit(int resource, const char *name, rlim_t most, struct err *err)
{
    struct rlimit now, wanted = {most, most};

    if (getrlimit((__rlimit_resource_t)resource, &now) != 0)
        return err_set(err, "SANDBOX_FAILED", "%s: %s", name, strerror(errno));
    if (now.rlim_max < most)
        wanted = (struct rlimit){now.rlim_max, now.rlim_max};
    return setrlimit((__rlimit_resource_t)resource, &wanted) == 0 ||
           err_set(err, "SANDBOX_FAILED", "%s: %s", name, strerror(errno));
}

/* What the process has mapped by now, in all and of private writable memory. */
static bool mapped(rlim_t *all, rlim_t *data)
{
    unsigned long pages[6] = {0};
    const rlim_t size = (rlim_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    int count;

    if (!file)
        return false;
    count = fscanf(file, "%lu %lu %lu %lu %lu %lu", &pages[0], &pages[1], &pages[2], &pages[3],
                   &pages[4], &pages[5]);
    fclose(file);
    *all = pages[0] * size;
    *data = pages[5] * size;
    return count == 6;
}

/* RLIMIT_DATA is the limit. RLIMIT_AS, well above, is for what makes memory no longer data: filled
 * pages that are made read-only.
 */
static bool limit_memory(size_t memory, struct err *err)
{
    rlim_t all = 0, data = 0;

    if (memory == 0 || SHADOWED)
        return true;
    if (!mapped(&all, &data))
        return err_set(err, "SANDBOX_FAILED", "cannot read /proc/self/statm");
    return limit(RLIMIT_DATA, "RLIMIT_DATA", data + memory, err) &&
           limit(RLIMIT_AS, "RLIMIT_AS", all + memory + (rlim_t)MAPPED_SLACK * MIB, err);
}

static bool set_limits(const struct sandbox *sandbox, struct err *err)
{
    const rlim_t files = sandbox->files ? sandbox->files : DEFAULT_FILES;
    const rlim_t file_size = sandbox->file_size ? sandbox->file_size : default_file_size;

    signal(SIGXFSZ, SIG_IGN); /* too large a file is an error of its write */
    return limit(RLIMIT_CORE, "RLIMIT_CORE", 0, err) &&
           limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0, err) &&
           limit(RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", 0, err) &&
           limit(RLIMIT_RTPRIO, "RLIMIT_RTPRIO", 0, err) &&
           limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", files, err) &&
           limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", file_size, err) &&
           limit_memory(sandbox->memory, err);
}

/* --- privileges --- */

/* All capabilities go. With `keep_files` those stay by which root reads files of others: an app's
 * folder may belong to somebody else, and Landlock says what is open.
 */
static bool drop_capabilities(bool keep_files, struct err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    const uint32_t kept = keep_files ? (1u << CAP_DAC_OVERRIDE) | (1u << CAP_DAC_READ_SEARCH) : 0;

    if (syscall(SYS_capget, &header, data) != 0)
        return err_set(err, "SANDBOX_FAILED", "capabilities: %s", strerror(errno));
    data[0] =
        (struct __user_cap_data_struct){data[0].effective & kept, data[0].permitted & kept, 0};
    data[1] = (struct __user_cap_data_struct){0, 0, 0};
    return syscall(SYS_capset, &header, data) == 0 ||
           err_set(err, "SANDBOX_FAILED", "capabilities: %s", strerror(errno));
}

bool sandbox_seal(struct err *err)
{
    return prctl(PR_GET_SECCOMP) != SECCOMP_MODE_FILTER || calls_seal(err);
}

static unsigned threads(void)
{
    FILE *file = fopen("/proc/self/stat", "re");
    unsigned long count = 0;
    char line[1024];
    const char *at;

    if (file && fgets(line, sizeof(line), file) && (at = strrchr(line, ')')))
        /* state and 16 numbers, then num_threads */
        sscanf(at + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu",
               &count);
    if (file)
        fclose(file);
    return (unsigned)count;
}

bool sandbox_enter(const struct sandbox *sandbox, unsigned *applied, struct err *err)
{
    const unsigned parts = sandbox_supported();
    const int version = landlock_version();

    *applied = 0;
    if (threads() > 1) /* Landlock and seccomp hold the thread that asks, and what it starts */
        return err_set(err, "SANDBOX_FAILED", "the process has threads already");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set(err, "SANDBOX_FAILED", "no_new_privs: %s", strerror(errno));
    if (!set_limits(sandbox, err) || !drop_capabilities(version > 0, err))
        return false;
    if ((parts & SANDBOX_FILES) && !landlock_enter(sandbox, version, err))
        return false;
    if ((parts & SANDBOX_CALLS) && !calls_enter(sandbox, version >= LANDLOCK_HAS_TRUNCATE, err))
        return false;
    *applied = parts;
    return true;
}
