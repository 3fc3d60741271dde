/* A worker process gives up what its app does not need. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/worker.h"
#include "base/mem.h"
#include "worker/gate.h"
#include "worker/page.h"
#include "worker/sandbox.h"

enum { MIB = 1024 * 1024 };

/* Bodies, frames, threads' stacks and what C modules allocate. */
static size_t memory_of(const struct frame_hello *hello)
{
    return (size_t)hello->memory + (size_t)hello->memory / 2 + (size_t)64 * MIB;
}

static const char **texts(struct frame_reader r, uint32_t count)
{
    const char **list = mem_alloc((count + (size_t)1) * sizeof(*list));

    for (uint32_t i = 0; i < count; i++)
        list[i] = frame_get_str(&r).at;
    return list;
}

#if !defined(__SANITIZE_ADDRESS__)
/* The server's log is no place for what an app writes past the link. */
static void leave_log(void)
{
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (null < 0)
        return;
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    close(null);
}
#endif

#if defined(__SANITIZE_ADDRESS__)
/* Asked by the sanitizer at exit: what looks for leaks needs ptrace and processes. */
static bool confined;

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return confined;
}
#endif

bool worker_confine(const struct frame_hello *hello, struct err *err)
{
    const char **read = texts(hello->read, hello->read_count);
    const char **write = texts(hello->write, hello->write_count);
    const char **net = texts(hello->net, hello->net_count);
    const struct sandbox sandbox = {
        .read = read, .write = write, .net = net, .memory = memory_of(hello)};
    unsigned applied;
    const bool ok = sandbox_enter(&sandbox, &applied, err);

    free(read);
    free(write);
    free(net);
    if (!ok)
        return false;
    if (hello->net_count > 0)
        gate_enter(PAGE_GATE_FD);
#if defined(__SANITIZE_ADDRESS__)
    confined = true;
#else
    leave_log();
#endif
    return true;
}

static void nothing(struct job *job)
{
    (void)job;
}

bool worker_seal(struct worker *worker, struct err *err)
{
    worker->threads = (struct job){.work = nothing, .done = nothing};
    loop_submit(worker->loop, &worker->threads);
    return sandbox_seal(err);
}
