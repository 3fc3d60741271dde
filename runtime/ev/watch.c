#include "ev/watch.h"

#include <stdlib.h>

#include "base/mem.h"
#include "ev/loop_impl.h"

struct watch_run {
    uv_fs_event_t handle;
    struct dir_watch *watch;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct dir_watch *watch = ((struct watch_run *)handle)->watch;

    (void)name;
    (void)events;
    (void)status;
    watch->changed(watch);
}

bool watch_start(struct loop *loop, struct dir_watch *watch, const char *dir, struct err *err)
{
    struct watch_run *run = mem_alloc(sizeof(*run));
    int rc = uv_fs_event_init(&loop->uv, &run->handle);

    run->watch = watch;
    if (rc == 0)
        rc = uv_fs_event_start(&run->handle, on_event, dir, 0);
    if (rc != 0) {
        uv_close((uv_handle_t *)&run->handle, on_closed);
        return err_set(err, "IO", "cannot watch %s: %s", dir, uv_strerror(rc));
    }
    watch->impl = run;
    return true;
}

void watch_stop(struct dir_watch *watch)
{
    struct watch_run *run = watch->impl;

    if (!run)
        return;
    watch->impl = NULL;
    uv_fs_event_stop(&run->handle);
    uv_close((uv_handle_t *)&run->handle, on_closed);
}
