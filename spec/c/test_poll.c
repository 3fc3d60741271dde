/* Watching descriptors: events, changes, stopping from inside, numbers that come again. */
#include "check.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ev/loop.h"
#include "ev/poll.h"

static struct loop *loop;

struct seen {
    struct poll poll;
    unsigned events, count;
    bool stops;
};

static void note(struct poll *poll, unsigned events)
{
    struct seen *seen = (struct seen *)poll;

    seen->events |= events;
    seen->count++;
    if (seen->stops) {
        poll_stop(poll);
        free(seen);
    }
}

static void start(struct seen *seen, int fd, unsigned events)
{
    struct err err;

    CHECK(poll_start(loop, &seen->poll, fd, events, &err));
    CHECK(poll_running(&seen->poll));
}

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 5);
}

static void make_pair(int pair[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static void test_tells_what_was_asked_for(void)
{
    struct seen seen = {.poll = {.ready = note}};
    int pair[2];

    make_pair(pair);
    start(&seen, pair[0], POLL_READ);
    turn();
    CHECK(seen.count == 0);
    CHECK(write(pair[1], "x", 1) == 1);
    turn();
    CHECK(seen.events == POLL_READ);
    CHECK(seen.count > 1); /* as long as it lasts */
    seen.events = 0;
    start(&seen, pair[0], POLL_WRITE);
    turn();
    CHECK(seen.events == POLL_WRITE);
    seen.events = 0;
    start(&seen, pair[0], POLL_READ | POLL_WRITE);
    turn();
    CHECK(seen.events == (POLL_READ | POLL_WRITE));
    poll_stop(&seen.poll);
    CHECK(!poll_running(&seen.poll));
    seen.count = 0;
    turn();
    CHECK(seen.count == 0);
    poll_stop(&seen.poll); /* no-op */
    close_pair(pair);
}

static void test_the_other_side_closing_is_readable(void)
{
    struct seen seen = {.poll = {.ready = note}};
    int pair[2];

    make_pair(pair);
    start(&seen, pair[0], POLL_READ);
    close(pair[1]);
    turn();
    CHECK(seen.events & POLL_READ);
    poll_stop(&seen.poll);
    close(pair[0]);
}

static void make_tcp_pair(int pair[2])
{
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(bind(listener, (const struct sockaddr *)&any, sizeof(any)) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&at, &len) == 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(pair[0], (const struct sockaddr *)&at, sizeof(at)) == 0);
    pair[1] = accept(listener, NULL, NULL);
    CHECK(pair[1] >= 0);
    close(listener);
}

/* As a database does that is shut down: it says why, and is gone when the next query comes. The
 * failure is there before its words are read, and has to be told once more when they are.
 */
static void test_tells_a_failure_again(void)
{
    struct seen seen = {.poll = {.ready = note}};
    char byte;
    int pair[2];

    make_tcp_pair(pair);
    CHECK(write(pair[1], "x", 1) == 1);
    close(pair[1]);
    CHECK(write(pair[0], "query", 5) == 5); /* answered by a reset */
    start(&seen, pair[0], POLL_READ);
    turn();
    CHECK(seen.events == (POLL_READ | POLL_WRITE)); /* it failed */
    CHECK(read(pair[0], &byte, 1) == 1 && byte == 'x');
    seen.count = 0;
    turn();
    CHECK(seen.count > 0);
    CHECK(read(pair[0], &byte, 1) <= 0);
    poll_stop(&seen.poll);
    close(pair[0]);
}

static void test_may_stop_and_free_itself(void)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    int pair[2];

    make_pair(pair);
    seen->poll.ready = note;
    seen->stops = true;
    start(seen, pair[0], POLL_WRITE);
    turn(); /* the sanitizer tells of a second call */
    close_pair(pair);
}

/* As libraries do: close, open, and the system gives the same number. */
static void test_a_number_comes_again_at_once(void)
{
    struct seen first = {.poll = {.ready = note}}, second = {.poll = {.ready = note}};
    int pair[2], other[2];

    make_pair(pair);
    start(&first, pair[0], POLL_READ);
    turn();
    poll_stop(&first.poll);
    close_pair(pair);
    make_pair(other);
    CHECK(other[0] == pair[0]);
    start(&second, other[0], POLL_READ);
    CHECK(write(other[1], "x", 1) == 1);
    turn();
    CHECK(second.events == POLL_READ && first.count == 0);
    poll_stop(&second.poll);
    close_pair(other);
}

static void test_refuses_what_cannot_be_watched(void)
{
    struct seen seen = {.poll = {.ready = note}};
    struct err err = {.code = ""};

    CHECK(!poll_start(loop, &seen.poll, -1, POLL_READ, &err));
    CHECK_STR(err.code, "IO");
    CHECK(!poll_running(&seen.poll));
}

struct guest {
    struct loop_guest guest;
    int order;
};

static int closed;

static void close_guest(struct loop_guest *guest)
{
    ((struct guest *)guest)->order = ++closed;
}

static void test_guests_are_found_and_closed_newest_first(void)
{
    static const char one[] = "one", two[] = "two", three[] = "three";
    struct guest a = {.guest = {.kind = one, .close = close_guest}};
    struct guest b = {.guest = {.kind = two, .close = close_guest}};
    struct err err;
    struct loop *other = loop_new(&err);

    loop_add_guest(other, &a.guest);
    loop_add_guest(other, &b.guest);
    CHECK(loop_guest(other, one) == &a.guest);
    CHECK(loop_guest(other, two) == &b.guest);
    CHECK(!loop_guest(other, three) && !loop_guest(loop, one));
    loop_free(other);
    CHECK(b.order == 1 && a.order == 2);
}

int main(void)
{
    struct err err;

    loop = loop_new(&err);
    CHECK(loop);
    test_tells_what_was_asked_for();
    test_the_other_side_closing_is_readable();
    test_tells_a_failure_again();
    test_may_stop_and_free_itself();
    test_a_number_comes_again_at_once();
    test_refuses_what_cannot_be_watched();
    test_guests_are_found_and_closed_newest_first();
    loop_free(loop);
    return 0;
}
