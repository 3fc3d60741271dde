#include "ev/poll.h"

#include <stdlib.h>

#include "base/mem.h"
#include "ev/loop_impl.h"

/* libuv frees its handles on a later turn, so they live beside the caller's struct, not in it. */
struct poll_run {
    uv_poll_t handle; /* first: on_closed() casts back */
    struct poll *poll;
    int wanted; /* UV_READABLE, … */
};

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_event(uv_poll_t *handle, int status, int events)
{
    const struct poll_run *run = (struct poll_run *)handle;
    struct poll *poll = run->poll;
    unsigned ready = 0;

    if (status < 0) /* libuv has stopped, but a reset comes before what can still be read */
        uv_poll_start(handle, run->wanted, on_event);
    if (status < 0 || (events & UV_READABLE))
        ready |= POLL_READ;
    if (status < 0 || (events & UV_WRITABLE))
        ready |= POLL_WRITE;
    poll->ready(poll, ready);
}

static struct poll_run *run_new(struct loop *loop, struct poll *poll, int fd, struct err *err)
{
    struct poll_run *run = mem_alloc(sizeof(*run));
    const int rc = uv_poll_init(&loop->uv, &run->handle, fd);

    if (rc != 0) {
        free(run); /* libuv has not taken it */
        err_set(err, "IO", "cannot watch descriptor %d: %s", fd, uv_strerror(rc));
        return NULL;
    }
    run->poll = poll;
    return run;
}

bool poll_start(struct loop *loop, struct poll *poll, int fd, unsigned events, struct err *err)
{
    struct poll_run *run;

    if (!poll->impl && !(poll->impl = run_new(loop, poll, fd, err)))
        return false;
    run = poll->impl;
    run->wanted = (events & POLL_READ ? UV_READABLE : 0) | (events & POLL_WRITE ? UV_WRITABLE : 0);
    /* Fails only for a handle that is closing. */
    uv_poll_start(&run->handle, run->wanted, on_event);
    return true;
}

void poll_stop(struct poll *poll)
{
    struct poll_run *run = poll->impl;

    if (!run)
        return;
    poll->impl = NULL;
    uv_poll_stop(&run->handle); /* takes it out of epoll at once: the caller may close it now */
    uv_close((uv_handle_t *)&run->handle, on_closed);
}

bool poll_running(const struct poll *poll)
{
    return poll->impl != NULL;
}
