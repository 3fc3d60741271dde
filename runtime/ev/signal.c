#include "ev/loop_impl.h"

#include <stdlib.h>

#include "base/mem.h"

struct signal_run {
    uv_signal_t handle;
    struct signal_watch *watch;
    struct signal_run *next, **slot; /* in the loop's list, for those open when it goes */
};

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    struct signal_watch *watch = ((struct signal_run *)handle)->watch;
    watch->on(watch);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void enlist(struct loop *loop, struct signal_run *run)
{
    run->next = loop->signals;
    run->slot = &loop->signals;
    if (run->next)
        run->next->slot = &run->next;
    loop->signals = run;
}

bool signal_start(struct loop *loop, struct signal_watch *watch, struct err *err)
{
    struct signal_run *run = mem_alloc(sizeof(*run));
    int rc = uv_signal_init(&loop->uv, &run->handle);
    if (rc != 0) {
        free(run);
        return err_set(err, "SIGNAL", "signal %d: %s", watch->number, uv_strerror(rc));
    }
    run->watch = watch;
    watch->impl = run;
    enlist(loop, run);
    if ((rc = uv_signal_start(&run->handle, on_signal, watch->number)) == 0)
        return true;
    signal_stop(watch);
    return err_set(err, "SIGNAL", "signal %d: %s", watch->number, uv_strerror(rc));
}

void signal_stop(struct signal_watch *watch)
{
    struct signal_run *run = watch->impl;
    if (!run)
        return;
    watch->impl = NULL;
    *run->slot = run->next;
    if (run->next)
        run->next->slot = run->slot;
    uv_close((uv_handle_t *)&run->handle, on_closed);
}

void signals_fini(struct loop *loop)
{
    while (loop->signals)
        signal_stop(loop->signals->watch);
}
