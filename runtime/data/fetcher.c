/* libcurl's multi handle on the loop: its sockets, its timer, and what comes of them. */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/fetch_impl.h"
#include "ev/poll.h"

enum {
    HOST_CONNECTIONS = 256, /* more fetches to one host wait for one of these */
    ALL_CONNECTIONS = 512,
    IDLE_CONNECTIONS = 256,
};

/* A descriptor of libcurl's. Those that we opened are told to us when they are closed, so they stay
 * in epoll between requests; that saves two system calls a request.
 */
struct watched {
    struct poll poll; /* first: on_ready() casts back */
    struct fetcher *fetcher;
    int fd;
    unsigned wanted, polled; /* events; polled: as epoll knows them */
    bool ours;
};

static const char kind[] = "fetcher";

/* --- news --- */

void fetcher_add_news(struct fetch *f)
{
    struct fetcher *fetcher = f->fetcher;

    if (f->has_news)
        return;
    f->has_news = true;
    f->next_news = NULL;
    f->prev_news = fetcher->last_news;
    *(fetcher->last_news ? &fetcher->last_news->next_news : &fetcher->first_news) = f;
    fetcher->last_news = f;
    if (!fetcher->telling)
        loop_post(fetcher->loop, &fetcher->post);
}

void fetcher_drop_news(struct fetch *f)
{
    struct fetcher *fetcher = f->fetcher;

    if (!f->has_news)
        return;
    f->has_news = false;
    *(f->prev_news ? &f->prev_news->next_news : &fetcher->first_news) = f->next_news;
    *(f->next_news ? &f->next_news->prev_news : &fetcher->last_news) = f->prev_news;
}

static void take_results(struct fetcher *fetcher)
{
    CURLMsg *message;
    int left;

    while ((message = curl.multi_info_read(fetcher->multi, &left))) {
        const CURLcode result = message->data.result;
        char *f = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &f);
        fetch_complete((struct fetch *)(void *)f, result);
    }
}

/* Those called may start and close fetches, this one included. */
void fetcher_tell(struct fetcher *fetcher)
{
    struct fetch *f;

    fetcher->telling = true;
    take_results(fetcher);
    while ((f = fetcher->first_news)) {
        fetcher_drop_news(f);
        f->changed(f, f->arg);
    }
    fetcher->telling = false;
    loop_unpost(fetcher->loop, &fetcher->post);
}

static void on_post(struct post *post)
{
    fetcher_tell((struct fetcher *)((char *)post - offsetof(struct fetcher, post)));
}

static void act(struct fetcher *fetcher, int fd, int events)
{
    int running;

    fetcher->telling = true; /* is about to */
    curl.multi_socket_action(fetcher->multi, fd, events, &running);
    fetcher_tell(fetcher);
}

/* --- sockets --- */

static struct watched *find(const struct fetcher *fetcher, int fd)
{
    return fd >= 0 && (size_t)fd < fetcher->watched_len ? fetcher->watched[fd] : NULL;
}

static void forget(struct watched *w)
{
    if (!w)
        return;
    poll_stop(&w->poll);
    w->fetcher->watched[w->fd] = NULL;
    free(w);
}

/* libcurl does not want to know: the transfer is paused, or the server closed an idle connection,
 * which libcurl finds out when it wants to use it again.
 */
static void rest(struct watched *w)
{
    poll_stop(&w->poll);
    w->polled = 0;
}

static void on_ready(struct poll *poll, unsigned events)
{
    struct watched *w = (struct watched *)poll;

    if (!w->wanted) {
        rest(w);
        return;
    }
    act(w->fetcher, w->fd,
        (events & POLL_READ ? CURL_CSELECT_IN : 0) | (events & POLL_WRITE ? CURL_CSELECT_OUT : 0));
}

static struct watched *watch(struct fetcher *fetcher, int fd)
{
    struct watched *w = mem_alloc(sizeof(*w));

    if ((size_t)fd >= fetcher->watched_len) {
        const size_t len = (size_t)fd + 64, more = len - fetcher->watched_len;
        fetcher->watched = mem_resize(fetcher->watched, len * sizeof(*fetcher->watched));
        memset(fetcher->watched + fetcher->watched_len, 0, more * sizeof(*fetcher->watched));
        fetcher->watched_len = len;
    }
    w->poll.ready = on_ready;
    w->fetcher = fetcher;
    w->fd = fd;
    fetcher->watched[fd] = w;
    return w;
}

static void want(struct watched *w, unsigned events)
{
    struct err err;

    w->wanted = events;
    if (w->polled == events)
        return;
    /* What cannot be watched runs into its time-out. */
    w->polled = poll_start(w->fetcher->loop, &w->poll, w->fd, events, &err) ? events : 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct fetcher *fetcher = arg;
    struct watched *w = find(fetcher, fd);

    (void)easy;
    (void)unused;
    if (what != CURL_POLL_REMOVE)
        want(w ? w : watch(fetcher, fd),
             (what & CURL_POLL_IN ? POLL_READ : 0u) | (what & CURL_POLL_OUT ? POLL_WRITE : 0u));
    else if (w && w->ours)
        w->wanted = 0;
    else
        forget(w);
    return 0;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    const int type = address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK;
    const int fd = socket(address->family, type, address->protocol);

    (void)purpose;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    forget(find(arg, fd));
    watch(arg, fd)->ours = true;
    return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    forget(find(arg, fd));
    return close(fd);
}

/* --- time --- */

static void on_time(struct timer *timer)
{
    struct fetcher *fetcher = (struct fetcher *)((char *)timer - offsetof(struct fetcher, timer));

    act(fetcher, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
    struct fetcher *fetcher = arg;

    (void)multi;
    if (ms < 0)
        timer_stop(&fetcher->timer);
    else
        timer_start(fetcher->loop, &fetcher->timer, (uint64_t)ms);
    return 0;
}

/* --- handles --- */

static void set_always(struct fetcher *fetcher, CURL *e)
{
    curl.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl.easy_setopt(e, CURLOPT_USERAGENT, "buntime/" BUNTIME_VERSION);
    curl.easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl.easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else cancelling waits for the resolver */
    curl.easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl.easy_setopt(e, CURLOPT_OPENSOCKETDATA, fetcher);
    curl.easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl.easy_setopt(e, CURLOPT_CLOSESOCKETDATA, fetcher);
    curl.easy_setopt(e, CURLOPT_HEADERFUNCTION, fetch_on_header);
    curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, fetch_on_body);
    if (fetcher->ca_file)
        curl.easy_setopt(e, CURLOPT_CAINFO, fetcher->ca_file);
    if (fetcher->ca_dir)
        curl.easy_setopt(e, CURLOPT_CAPATH, fetcher->ca_dir);
}

CURL *fetcher_take_easy(struct fetcher *fetcher)
{
    CURL *easy = fetcher->idle_count ? fetcher->idle[--fetcher->idle_count] : curl.easy_init();

    if (!easy)
        abort(); /* out of memory, where mem_alloc() would end the process as well */
    set_always(fetcher, easy);
    return easy;
}

void fetcher_give_easy(struct fetcher *fetcher, CURL *easy)
{
    if (fetcher->idle_count == IDLE_EASIES) {
        curl.easy_cleanup(easy);
        return;
    }
    curl.easy_reset(easy); /* nothing of one plugin's may reach another's */
    fetcher->idle[fetcher->idle_count++] = easy;
}

/* --- life --- */

static void close_fetcher(struct loop_guest *guest)
{
    struct fetcher *fetcher = (struct fetcher *)guest;

    assert(fetcher->open == 0);
    while (fetcher->idle_count)
        curl.easy_cleanup(fetcher->idle[--fetcher->idle_count]);
    curl.multi_cleanup(fetcher->multi); /* closes the connections: their sockets are told to us */
    timer_stop(&fetcher->timer);
    loop_unpost(fetcher->loop, &fetcher->post);
    for (size_t fd = 0; fd < fetcher->watched_len; fd++)
        forget(fetcher->watched[fd]);
    free(fetcher->watched);
    free(fetcher->ca_file);
    free(fetcher->ca_dir);
    free(fetcher);
}

static CURLM *new_multi(struct fetcher *fetcher)
{
    CURLM *multi = curl.multi_init();

    curl.multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl.multi_setopt(multi, CURLMOPT_SOCKETDATA, fetcher);
    curl.multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl.multi_setopt(multi, CURLMOPT_TIMERDATA, fetcher);
    curl.multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)HOST_CONNECTIONS);
    curl.multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)ALL_CONNECTIONS);
    curl.multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
    return multi;
}

/* Copied once: a look at the environment for each request is not for free. */
static char *environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? mem_copy(value) : NULL;
}

struct fetcher *fetcher_of(struct loop *loop)
{
    struct fetcher *fetcher = (struct fetcher *)loop_guest(loop, kind);

    if (fetcher)
        return fetcher;
    fetcher = mem_alloc(sizeof(*fetcher));
    fetcher->guest = (struct loop_guest){.kind = kind, .close = close_fetcher};
    fetcher->loop = loop;
    fetcher->timer.fire = on_time;
    fetcher->post.run = on_post;
    fetcher->ca_file = environment("SSL_CERT_FILE");
    fetcher->ca_dir = environment("SSL_CERT_DIR");
    fetcher->multi = new_multi(fetcher);
    loop_add_guest(loop, &fetcher->guest);
    return fetcher;
}
