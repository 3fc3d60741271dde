#include "plugin/faults.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"

static double wall_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void release(struct fault *fault)
{
    free(fault->code);
    free(fault->message);
    free(fault->file);
    free(fault->traceback);
    free(fault->request_id);
    free(fault->phase);
}

static struct fault make(const struct err *err, const char *phase)
{
    struct fault fault = {
        .code = mem_copy(err->code),
        .message = mem_copy(err->message),
        .file = mem_copy(err->file),
        .traceback = mem_copy(err->traceback),
        .phase = mem_copy(phase),
        .line = err->line,
    };

    log_mask(fault.message);
    log_mask(fault.traceback);
    return fault;
}

static bool same(const struct fault *a, const struct fault *b)
{
    return strcmp(a->code, b->code) == 0 && strcmp(a->message, b->message) == 0 &&
           strcmp(a->phase, b->phase) == 0;
}

/* Takes the fault like `fault` out of the list, or the oldest if the list is full. */
static struct fault take(struct faults *faults, const struct fault *fault)
{
    struct fault taken = {0};
    size_t at = 0;

    while (at < faults->len && !same(&faults->items[at], fault))
        at++;
    if (at == faults->len && faults->len < FAULTS_MAX)
        return taken;
    if (at == faults->len)
        at--;
    taken = faults->items[at];
    memmove(&faults->items[at], &faults->items[at + 1], (faults->len - at - 1) * sizeof(taken));
    faults->len--;
    return taken;
}

void faults_add(struct faults *faults,
                const struct err *err,
                const char *phase,
                const char *request_id)
{
    struct fault fault = make(err, phase);
    struct fault before = take(faults, &fault);
    const bool again = before.code && same(&before, &fault);

    fault.last = wall_now();
    fault.first = again ? before.first : fault.last;
    fault.count = again ? before.count + 1 : 1;
    fault.request_id = mem_copy(request_id);
    release(&before);
    memmove(&faults->items[1], &faults->items[0], faults->len * sizeof(fault));
    faults->items[0] = fault;
    faults->len++;
    faults->total++;
}

void faults_fini(struct faults *faults)
{
    for (size_t i = 0; i < faults->len; i++)
        release(&faults->items[i]);
    faults->len = 0;
}
