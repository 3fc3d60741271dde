/* The loop: timers, posts, jobs, signals, waking from a thread, and nothing left open. */
#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ev/loop.h"
#include "http/h2o.h"

static struct loop *loop;
static char trace[4096];

static void note(char c)
{
    size_t len = strlen(trace);
    trace[len] = c;
    trace[len + 1] = '\0';
}

struct named_timer {
    struct timer timer;
    char name;
    struct timer *stops, *starts;
};

static void fire_named(struct timer *timer)
{
    struct named_timer *named = (struct named_timer *)timer;
    note(named->name);
    if (named->stops)
        timer_stop(named->stops);
    if (named->starts)
        timer_start(loop, named->starts, 0);
}

static struct named_timer named(char name)
{
    return (struct named_timer){.timer = {.fire = fire_named}, .name = name};
}

static void turn_for(uint64_t ms)
{
    uint64_t end = clock_now_ns() + ms * 1000000;
    while (clock_now_ns() < end)
        loop_turn(loop, 5);
}

static void test_timers_fire_in_order(void)
{
    trace[0] = '\0';
    struct named_timer a = named('a'), b = named('b'), c = named('c'), d = named('d');
    timer_start(loop, &c.timer, 30);
    timer_start(loop, &a.timer, 10);
    timer_start(loop, &d.timer, 30);
    timer_start(loop, &b.timer, 20);
    CHECK(timer_running(&a.timer));
    turn_for(60);
    CHECK_STR(trace, "abcd");
    CHECK(!timer_running(&a.timer) && !timer_running(&d.timer));
    timer_stop(&a.timer); /* no-op */
}

static void test_timer_stops_and_restarts(void)
{
    trace[0] = '\0';
    struct named_timer a = named('a'), b = named('b'), c = named('c');
    a.stops = &b.timer;
    timer_start(loop, &a.timer, 5);
    timer_start(loop, &b.timer, 6);
    timer_start(loop, &c.timer, 1);
    timer_start(loop, &c.timer, 40); /* restarted: once, later */
    turn_for(25);
    CHECK_STR(trace, "a");
    turn_for(40);
    CHECK_STR(trace, "ac");
}

static void test_timer_is_never_early(void)
{
    for (int i = 0; i < 10; i++) {
        struct named_timer a = named('a');
        usleep(700); /* the turn's own time is stale by now */
        uint64_t start = clock_now_ns();
        timer_start(loop, &a.timer, 3);
        while (timer_running(&a.timer))
            loop_turn(loop, 100);
        CHECK(clock_now_ns() - start >= 3000000);
    }
}

static void test_timer_that_restarts_itself_lets_turns_end(void)
{
    trace[0] = '\0';
    struct named_timer a = named('a');
    a.starts = &a.timer;
    timer_start(loop, &a.timer, 0);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0);
    CHECK(strlen(trace) >= 1 && strlen(trace) <= 5);
    timer_stop(&a.timer);
}

static void count_fire(struct timer *timer)
{
    (void)timer;
    note('.');
}

/* A heap that loses its order or an index shows here: random starts, stops, restarts. */
static void test_timer_heap(void)
{
    enum { N = 500 };
    static struct timer timers[N];
    trace[0] = '\0';
    unsigned seed = 7, running = 0;
    for (int i = 0; i < N; i++)
        timers[i] = (struct timer){.fire = count_fire};
    for (int i = 0; i < 5000; i++) {
        seed = seed * 1103515245 + 12345;
        struct timer *timer = &timers[(seed >> 8) % N];
        if (seed >> 30)
            timer_start(loop, timer, (seed >> 4) % 20);
        else
            timer_stop(timer);
    }
    for (int i = 0; i < N; i++)
        running += timer_running(&timers[i]);
    CHECK(running > 100);
    turn_for(40);
    CHECK(strlen(trace) == running);
    for (int i = 0; i < N; i++)
        CHECK(!timer_running(&timers[i]));
}

struct named_post {
    struct post post;
    char name;
    struct post *posts, *unposts;
};

static void run_named(struct post *post)
{
    struct named_post *self = (struct named_post *)post;
    note(self->name);
    if (self->posts)
        loop_post(loop, self->posts);
    if (self->unposts)
        loop_unpost(loop, self->unposts);
}

static struct named_post post_of(char name)
{
    return (struct named_post){.post = {.run = run_named}, .name = name};
}

static void test_posts(void)
{
    trace[0] = '\0';
    struct named_post a = post_of('a'), b = post_of('b'), c = post_of('c');
    loop_post(loop, &a.post);
    loop_post(loop, &b.post);
    loop_post(loop, &a.post); /* already posted */
    loop_post(loop, &c.post);
    loop_unpost(loop, &c.post); /* the last one */
    loop_unpost(loop, &c.post);
    loop_post(loop, &c.post);
    loop_unpost(loop, &b.post); /* from the middle */
    loop_turn(loop, 1000);
    CHECK_STR(trace, "ac");
}

static void test_post_that_posts_runs_next_turn(void)
{
    trace[0] = '\0';
    struct named_post a = post_of('a'), b = post_of('b'), c = post_of('c');
    a.posts = &a.post;
    b.unposts = &c.post;
    loop_post(loop, &a.post);
    loop_post(loop, &b.post);
    loop_post(loop, &c.post);
    loop_turn(loop, 1000);
    CHECK(trace[0] == 'a' && trace[1] == 'b' && !strchr(trace, 'c'));
    a.posts = NULL;
    loop_turn(loop, 1000);
    loop_turn(loop, 0);
    CHECK(!a.post.queued);
}

struct count_job {
    struct job job;
    pthread_t thread;
    int done;
};

static void do_work(struct job *job)
{
    ((struct count_job *)job)->thread = pthread_self();
    usleep(2000);
}

static void work_done(struct job *job)
{
    ((struct count_job *)job)->done++;
}

static void test_jobs(void)
{
    struct count_job jobs[8];
    for (size_t i = 0; i < LEN(jobs); i++) {
        jobs[i] = (struct count_job){.job = {.work = do_work, .done = work_done}};
        loop_submit(loop, &jobs[i].job);
    }
    turn_for(60);
    for (size_t i = 0; i < LEN(jobs); i++) {
        CHECK(jobs[i].done == 1);
        CHECK(!pthread_equal(jobs[i].thread, pthread_self()));
    }
}

static int signals_seen;

static void on_signal(struct signal_watch *watch)
{
    CHECK(watch->number == SIGUSR1);
    signals_seen++;
}

static void test_signals(void)
{
    struct signal_watch watch = {.on = on_signal, .number = SIGUSR1};
    struct err err;
    CHECK(signal_start(loop, &watch, &err));
    loop_turn(loop, 0);
    raise(SIGUSR1);
    turn_for(20);
    CHECK(signals_seen == 1);
    signal_stop(&watch);
    signal_stop(&watch);
    struct signal_watch bad = {.on = on_signal, .number = SIGKILL};
    CHECK(!signal_start(loop, &bad, &err));
    CHECK(bad.impl == NULL && err.message[0]);
}

static void *wake_later(void *arg)
{
    usleep(20000);
    loop_wake(arg);
    return NULL;
}

static void test_wake_from_a_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, wake_later, loop);
    uint64_t start = clock_now_ns();
    loop_turn(loop, 10000);
    loop_turn(loop, 0);
    CHECK(clock_now_ns() - start < 5000000000);
    pthread_join(thread, NULL);
}

static void stop_loop(struct timer *timer)
{
    (void)timer;
    loop_stop(loop);
}

static h2o_socket_t *watch(int fd)
{
    return h2o_evloop_socket_create(loop_h2o(loop), fd, 0);
}

static void on_written(h2o_socket_t *socket, const char *failure)
{
    (void)socket, (void)failure;
}

struct closing {
    struct post post;
    h2o_socket_t *socket;
};

static void write_and_close(struct post *post)
{
    struct closing *closing = (struct closing *)post;
    h2o_iovec_t bytes = {(char *)"x", 1};

    h2o_socket_write(closing->socket, &bytes, 1, on_written);
    h2o_socket_close(closing->socket);
}

static void look_for_pending(h2o_socket_t *socket, const char *failure)
{
    const h2o_loop_t *h2o = loop_h2o(loop);

    CHECK(!failure && !h2o->_pending_as_client && !h2o->_pending_as_server);
    h2o_socket_read_stop(socket);
    note('r');
}

/* h2o frees a socket that was closed when its next run begins, and calls back what was written to
 * it later in that run.
 */
static void test_a_socket_written_to_and_closed_between_runs(void)
{
    int one[2], two[2];
    h2o_socket_t *reader;
    struct closing closing = {.post = {.run = write_and_close}};

    trace[0] = '\0';
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, one) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two) == 0);
    closing.socket = watch(one[0]);
    reader = watch(two[0]);
    h2o_socket_read_start(reader, look_for_pending);
    loop_turn(loop, 0);
    CHECK(write(two[1], "x", 1) == 1);
    loop_post(loop, &closing.post);
    loop_turn(loop, 0); /* may have read by now, but the post comes after */
    CHECK(write(two[1], "x", 1) == 1);
    h2o_socket_read_start(reader, look_for_pending);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    CHECK_STR(trace, "rr");
    h2o_socket_close(reader);
    loop_turn(loop, 0);
    close(one[1]);
    close(two[1]);
}

static void test_run_and_stop(void)
{
    struct timer timer = {.fire = stop_loop};
    for (int i = 0; i < 2; i++) {
        timer_start(loop, &timer, 5);
        loop_run(loop);
        CHECK(!timer_running(&timer));
    }
    loop_stop(loop);
    CHECK(!loop_turn(loop, 1000));
    loop_run(loop); /* a stop before the run counts */
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static struct count_job open_job = {.job = {.work = do_work, .done = work_done}};
static struct signal_watch open_watch = {.on = on_signal, .number = SIGUSR2};

static void test_free_leaves_nothing_open(void)
{
    struct err err;
    int before = 0;
    for (int i = 0; i < 20; i++) {
        loop = loop_new(&err);
        CHECK(loop);
        struct named_timer running = named('x');
        struct named_post posted = post_of('x');
        timer_start(loop, &running.timer, 1000);
        loop_post(loop, &posted.post);
        loop_submit(loop, &open_job.job);
        CHECK(signal_start(loop, &open_watch, &err));
        if (i % 2)
            loop_turn(loop, 0);
        timer_stop(&running.timer);
        loop_free(loop);
        if (i == 2) /* libuv keeps a pipe for signals once it was used */
            before = open_descriptors();
    }
    CHECK(open_job.done == 20);
    CHECK(open_descriptors() == before);
}

static void bench_timers(void)
{
    enum { N = 200000 };
    struct timer timer = {.fire = count_fire};
    uint64_t start = clock_now_ns();
    for (int i = 0; i < N; i++)
        timer_start(loop, &timer, 1000);
    printf("timer start and stop: %.0f ns\n", (double)(clock_now_ns() - start) / N);
    timer_stop(&timer);
}

int main(void)
{
    struct err err;
    loop = loop_new(&err);
    CHECK(loop);
    test_timers_fire_in_order();
    test_timer_stops_and_restarts();
    test_timer_is_never_early();
    test_timer_that_restarts_itself_lets_turns_end();
    test_timer_heap();
    test_posts();
    test_post_that_posts_runs_next_turn();
    test_jobs();
    test_signals();
    test_wake_from_a_thread();
    test_a_socket_written_to_and_closed_between_runs();
    test_run_and_stop();
    bench_timers();
    loop_free(loop);
    test_free_leaves_nothing_open();
    return 0;
}
