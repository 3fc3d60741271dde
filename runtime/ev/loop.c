#include "ev/loop_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { WAIT_MAX_MS = 60 * 60 * 1000 };

uint64_t clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Read once a turn, but anew after the wait, whose end no one tells. */
uint64_t loop_now_ms(struct loop *loop)
{
    if (loop->now_ns == 0)
        loop->now_ns = clock_now_ns();
    return loop->now_ns / 1000000;
}

void *loop_h2o(struct loop *loop)
{
    return loop->h2o;
}

void *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

/* --- libuv inside --- */

static void on_uv_ready(h2o_socket_t *socket, const char *failure)
{
    struct loop *loop = socket->data;
    if (!failure)
        uv_run(&loop->uv, UV_RUN_NOWAIT);
}

/* libuv tells its backend what to watch only when it is turned. Asking for that by a look at
 * its list spares a system call in each turn that has nothing for libuv.
 */
static bool uv_has_news(const uv_loop_t *uv)
{
    return uv->watcher_queue[0] != (void *)&uv->watcher_queue;
}

static int uv_wait_ms(struct loop *loop)
{
    uv_update_time(&loop->uv);
    return uv_has_news(&loop->uv) ? 0 : uv_backend_timeout(&loop->uv);
}

static void on_wake(uv_async_t *async)
{
    (void)async; /* ending the wait was all */
}

void loop_wake(struct loop *loop)
{
    uv_async_send(&loop->wake);
}

/* --- posts --- */

void loop_post(struct loop *loop, struct post *post)
{
    if (post->queued)
        return;
    post->queued = true;
    post->next = NULL;
    *loop->last_post = post;
    loop->last_post = &post->next;
    loop->post_count++;
}

static void unlink_post(struct loop *loop, struct post **slot)
{
    struct post *post = *slot;
    *slot = post->next;
    if (loop->last_post == &post->next)
        loop->last_post = slot;
    post->next = NULL;
    post->queued = false;
    loop->post_count--;
}

void loop_unpost(struct loop *loop, struct post *post)
{
    if (!post->queued)
        return;
    struct post **slot = &loop->first_post;
    while (*slot && *slot != post)
        slot = &(*slot)->next;
    if (*slot)
        unlink_post(loop, slot);
}

/* Runs what was there when the turn began; what those post waits for the next one. */
static void run_posts(struct loop *loop)
{
    for (size_t left = loop->post_count; left > 0 && loop->first_post; left--) {
        struct post *post = loop->first_post;
        unlink_post(loop, &loop->first_post);
        post->run(post);
    }
}

/* --- guests --- */

void loop_add_guest(struct loop *loop, struct loop_guest *guest)
{
    guest->next = loop->guests;
    loop->guests = guest;
}

struct loop_guest *loop_guest(struct loop *loop, const void *kind)
{
    struct loop_guest *guest = loop->guests;
    while (guest && guest->kind != kind)
        guest = guest->next;
    return guest;
}

static void close_guests(struct loop *loop)
{
    while (loop->guests) {
        struct loop_guest *guest = loop->guests;
        loop->guests = guest->next;
        guest->close(guest);
    }
}

/* --- turns --- */

static int32_t wait_ms(struct loop *loop, unsigned max_ms)
{
    uint64_t wait = max_ms < WAIT_MAX_MS ? max_ms : WAIT_MAX_MS;
    /* a write from a timer or a post may have ended at once: h2o calls back in its next run only */
    const bool pending = loop->h2o->_pending_as_client || loop->h2o->_pending_as_server;
    if (loop->first_post || loop->stopped || pending)
        return 0;
    uint64_t due = timers_next_ns(loop);
    if (due != UINT64_MAX) {
        uint64_t now = clock_now_ns();
        uint64_t until = due <= now ? 0 : (due - now + 999999) / 1000000;
        wait = until < wait ? until : wait;
    }
    int uv = uv_wait_ms(loop);
    return uv >= 0 && (uint64_t)uv < wait ? (int32_t)uv : (int32_t)wait;
}

bool loop_turn(struct loop *loop, unsigned max_wait_ms)
{
    int32_t wait = wait_ms(loop, max_wait_ms);
    if (uv_has_news(&loop->uv))
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    loop->now_ns = 0;
    /* its run begins by freeing closed sockets, even those that it has yet to call back */
    h2o_timeout__do_post_callback(loop->h2o);
    h2o_evloop_run(loop->h2o, wait);
    if (uv_wait_ms(loop) == 0)
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    loop->now_ns = clock_now_ns();
    timers_fire(loop);
    run_posts(loop);
    return !loop->stopped;
}

void loop_run(struct loop *loop)
{
    while (loop_turn(loop, WAIT_MAX_MS))
        continue;
    loop->stopped = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

/* --- life --- */

struct loop *loop_new(struct err *err)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    /* Four threads, libuv's default, are soon taken by slow queries; read before its first job. */
    setenv("UV_THREADPOOL_SIZE", "16", 0);
    int rc = uv_loop_init(&loop->uv);
    if (rc != 0) {
        free(loop);
        err_set(err, "LOOP", "cannot make an event loop: %s", uv_strerror(rc));
        return NULL;
    }
    loop->last_post = &loop->first_post;
    loop->h2o = h2o_evloop_create();
    loop->uv_socket =
        h2o_evloop_socket_create(loop->h2o, uv_backend_fd(&loop->uv), H2O_SOCKET_FLAG_DONT_READ);
    loop->uv_socket->data = loop;
    h2o_socket_read_start(loop->uv_socket, on_uv_ready);
    if ((rc = uv_async_init(&loop->uv, &loop->wake, on_wake)) != 0) {
        err_set(err, "LOOP", "cannot make an event loop: %s", uv_strerror(rc));
        loop_free(loop);
        return NULL;
    }
    return loop;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* h2o_evloop_destroy() forgets its epoll descriptor, which stands right behind the public part
 * of the loop. Asking it to drop a descriptor it does not watch says whether it is one.
 */
static int h2o_epoll_fd(h2o_loop_t *h2o, int unwatched)
{
    struct {
        h2o_evloop_t super;
        int ep;
    } *inside = (void *)h2o;
    struct epoll_event none = {0};
    bool is_epoll = epoll_ctl(inside->ep, EPOLL_CTL_DEL, unwatched, &none) != 0 && errno == ENOENT;
    return is_epoll ? inside->ep : -1;
}

static void free_h2o(struct loop *loop)
{
    h2o_socket_export_t exported;
    if (h2o_socket_export(loop->uv_socket, &exported) == 0)
        h2o_buffer_dispose(&exported.input); /* the descriptor is libuv's and stays open */
    h2o_evloop_run(loop->h2o, 0);            /* closed sockets are freed at a turn */
    int ep = h2o_epoll_fd(loop->h2o, uv_backend_fd(&loop->uv));
    h2o_evloop_destroy(loop->h2o);
    if (ep >= 0)
        close(ep);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    close_guests(loop);
    while (loop->jobs_open > 0)
        uv_run(&loop->uv, UV_RUN_ONCE);
    signals_fini(loop);
    timers_fini(loop);
    free_h2o(loop);
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(&loop->uv);
    free(loop);
}
