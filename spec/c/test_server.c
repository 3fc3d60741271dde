/* The server on a socket: answers, bodies, ids, clients that go, time-outs, shutdown. */
#include "test_server_support.h"

#include <sys/resource.h>

#include "base/buf.h"

static struct exchange *held[64];
static unsigned held_count, gone_count, request_count;

static void on_gone(struct exchange *x, void *owner)
{
    CHECK(owner == &held_count);
    CHECK(exchange_id(x).len > 0);
    for (unsigned i = 0; i < held_count; i++) {
        if (held[i] == x)
            held[i] = held[--held_count];
    }
    gone_count++;
}

static void hold(struct exchange *x)
{
    exchange_watch(x, on_gone, &held_count);
    held[held_count++] = x;
}

static void answer_held(void)
{
    while (held_count > 0) {
        struct exchange *x = held[--held_count];
        exchange_respond(x, 200);
        exchange_res_set_body(x, STR("late"));
        exchange_send(x);
    }
}

/* Appended by hand: the sanitizer reads "%.*s" to a NUL that borrowed text does not have. */
static void add(struct buf *text, const char *name, struct str value)
{
    buf_puts(text, name);
    buf_puts(text, "=[");
    buf_add_str(text, value.at ? value : STR("-"));
    buf_puts(text, "]\n");
}

/* What the server saw, as text. */
static void echo(struct exchange *x)
{
    struct buf text = {0};
    add(&text, "method", exchange_method(x));
    add(&text, "path", exchange_path(x));
    add(&text, "query", exchange_query(x));
    add(&text, "ip", exchange_ip(x));
    add(&text, "scheme", exchange_scheme(x));
    add(&text, "authority", exchange_authority(x));
    add(&text, "x-a", exchange_header(x, STR("X-A")));
    add(&text, "length", exchange_header(x, STR("content-length")));
    for (size_t i = 0; i < exchange_header_count(x); i++) {
        struct header header = exchange_header_at(x, i);
        buf_add_str(&text, header.name);
        add(&text, "", header.value);
    }
    add(&text, "x-a again", exchange_header(x, STR("X-A")));
    add(&text, "body", exchange_body(x));
    exchange_respond(x, 200);
    exchange_res_set_body(x, buf_str(&text));
    buf_fini(&text);
}

static void respond_headers(struct exchange *x)
{
    static const char *const names[] = {"Connection", "content-length", "Date",    "server",
                                        "Upgrade",    "x-request-id",   "X-Custom"};
    exchange_respond(x, 200);
    for (size_t i = 0; i < LEN(names); i++)
        exchange_res_add_header(x, str_of(names[i]), STR("forged"));
    exchange_res_add_header(x, STR("set-cookie"), STR("a=1"));
    exchange_res_add_header(x, STR("set-cookie"), STR("b=2"));
    exchange_res_set_body(x, STR("ok"));
}

static void respond_big(struct exchange *x)
{
    size_t size = 4 << 20;
    char *bytes = malloc(size);
    memset(bytes, 'b', size);
    exchange_respond(x, 200);
    exchange_res_set_body(x, (struct str){bytes, size});
    free(bytes);
}

static void on_request(void *app, struct exchange *x)
{
    CHECK(app == &request_count);
    request_count++;
    struct str path = exchange_path(x);
    if (str_equal(path, STR("/hold"))) {
        hold(x);
        return;
    }
    if (str_equal(path, STR("/headers"))) {
        respond_headers(x);
    } else if (str_equal(path, STR("/big"))) {
        respond_big(x);
    } else if (str_equal(path, STR("/close"))) {
        exchange_respond(x, 200);
        exchange_res_add_header(x, STR("connection"), STR("close"));
    } else if (str_starts(path, STR("/status/"))) {
        exchange_respond(x, (unsigned)strtoul(path.at + 8, NULL, 10));
        exchange_res_set_body(x, STR("text"));
    } else {
        echo(x);
    }
    exchange_send(x);
}

static const struct server_options options = {.on_request = on_request,
                                              .app = &request_count,
                                              .body_limit = 1 << 20,
                                              .client_timeout = 30000};

static void test_request(void)
{
    struct got got = TALK("POST /a/./b/../c%20d?x=%20 HTTP/1.1\r\nHost: example.com:80\r\n"
                          "X-A:\t one \t\r\nx-a: two\r\nContent-Length: 5\r\n\r\nhello",
                          1);
    CHECK(HAS(got, "HTTP/1.1 200 OK\r\n") && HAS(got, "\r\nServer: buntime\r\n"));
    CHECK(HAS(got, "method=[POST]\npath=[/a/c%20d]\nquery=[x=%20]\nip=[127.0.0.1]\nscheme=[http]\n"
                   "authority=[example.com:80]\nx-a=[one]\nlength=[5]\nhost=[example.com:80]\n"
                   "content-length=[5]\nx-a=[one]\nx-a=[two]\nx-a again=[one]\nbody=[hello]\n"));
    got_free(&got);
    got = TALK("GET / HTTP/1.0\r\n\r\n", 0);
    CHECK(got.closed && HAS(got, "query=[-]") && HAS(got, "authority=[-]") && !HAS(got, "host="));
    got_free(&got);
}

static void test_bodies(void)
{
    struct got got = TALK("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
                          1);
    CHECK(HAS(got, "length=[5]") && HAS(got, "body=[abcde]"));
    got_free(&got);
    got = TALK("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1);
    CHECK(HAS(got, "body=[]"));
    got_free(&got);

    size_t size = 1 << 20;
    char *bytes = malloc(size + 200);
    size_t head =
        (size_t)sprintf(bytes, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", size);
    memset(bytes + head, 'z', size);
    got = talk(bytes, head + size, 1);
    CHECK(HAS(got, "200 OK") && got.len > size);
    got_free(&got);
    free(bytes);
}

static void test_continue(void)
{
    struct got got = {0};
    int fd = connect_client();
    const char *head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                       "Content-Length: 5\r\n\r\n";
    put(fd, head, strlen(head), &got);
    turn_for(20);
    take(fd, &got);
    CHECK_STR(got.bytes, "HTTP/1.1 100 Continue\r\n\r\n");
    put(fd, "hello", 5, &got);
    await(fd, &got, 1, 2000);
    CHECK(HAS(got, "body=[hello]"));
    close(fd);
    got_free(&got);
    got = TALK("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi"
               "GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
               2);
    CHECK(HAS(got, "100 Continue") && HAS(got, "body=[hi]") && HAS(got, "path=[/next]"));
    got_free(&got);
}

static void test_keep_alive_and_pipelining(void)
{
    static char text[64 * 1024];
    size_t len = 0;
    for (int i = 0; i < 200; i++)
        len += (size_t)sprintf(text + len,
                               "POST /r%d HTTP/1.1\r\nHost: a\r\nX-Request-Id: id%d\r\n"
                               "Content-Length: 3\r\n\r\nb%02d",
                               i, i, i % 100);
    struct got got = talk(text, len, 200);
    CHECK(responses_end(&got, 200) == got.bytes + got.len);
    const char *at = got.bytes;
    for (int i = 0; i < 200; i++) {
        char want[64];
        sprintf(want, "x-request-id: id%d\r\n", i);
        CHECK(at = strstr(at, want));
        sprintf(want, "path=[/r%d]", i);
        CHECK(at = strstr(at, want));
        sprintf(want, "body=[b%02d]", i % 100);
        CHECK(at = strstr(at, want));
    }
    got_free(&got);
}

/* Requests cut at every place: the second part of one comes with the first part of the next. */
static void test_pipelining_in_pieces(void)
{
    const char *two = "POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "4\r\nwxyz\r\n0\r\n\r\n"
                      "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
                      "GET /three HTTP/1.1\r\nHost: a\r\n\r\n";
    for (size_t cut = 1; cut < strlen(two); cut++) {
        struct got got = {0};
        int fd = connect_client();
        put(fd, two, cut, &got);
        loop_turn(loop, 0);
        loop_turn(loop, 0);
        put(fd, two + cut, strlen(two) - cut, &got);
        await(fd, &got, 3, 2000);
        CHECK(HAS(got, "path=[/one]") && HAS(got, "body=[wxyz]"));
        CHECK(HAS(got, "path=[/two]") && HAS(got, "body=[abcd]") && HAS(got, "path=[/three]"));
        close(fd);
        got_free(&got);
    }
}

static void test_responses(void)
{
    struct got got = TALK("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 0);
    CHECK(HAS(got, "Content-Length: ") && !HAS(got, "method="));
    CHECK(!HAS(got, "Content-Length: 0"));
    got_free(&got);
    got = TALK("GET /headers HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n", 1);
    CHECK(HAS(got, "x-custom: forged\r\n") && HAS(got, "x-request-id: mine\r\n"));
    CHECK(HAS(got, "set-cookie: a=1\r\nset-cookie: b=2\r\n") && HAS(got, "\r\n\r\nok"));
    CHECK(HAS(got, "Connection: keep-alive\r\n") && HAS(got, "Content-Length: 2\r\n"));
    *strstr(got.bytes, "x-custom: forged") = '\0';
    CHECK(!HAS(got, "forged"));
    got_free(&got);
    static const char *const bodiless[] = {"204", "304"};
    for (size_t i = 0; i < LEN(bodiless); i++) {
        char text[128];
        sprintf(text,
                "GET /status/%s HTTP/1.1\r\nHost: a\r\n\r\nGET /close HTTP/1.1\r\nHost: a\r\n\r\n",
                bodiless[i]);
        got = TALK(text, 0);
        CHECK(got.closed && HAS(got, bodiless[i]) && !HAS(got, "text") && !HAS(got, "chunked"));
        CHECK(HAS(got, "Connection: close"));
        got_free(&got);
    }
    got = TALK("GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 0);
    CHECK(got.len > 4 << 20 && got.bytes[got.len - 1] == 'b');
    got_free(&got);
}

static void test_bad_path(void)
{
    unsigned before = request_count;
    struct got got = TALK("GET /%00 HTTP/1.1\r\nHost: a\r\nX-Request-Id: p1\r\n\r\n"
                          "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n",
                          2);
    CHECK(HAS(got, "HTTP/1.1 400 Bad Request") && HAS(got, "\"code\":\"INVALID_PATH\""));
    CHECK(HAS(got, "\"requestId\":\"p1\"") && HAS(got, "x-request-id: p1"));
    CHECK(HAS(got, "path=[/ok]") && request_count == before + 1);
    got_free(&got);
}

static void test_ids(void)
{
    struct got got = TALK("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: not/good\r\n\r\n", 1);
    const char *id = strstr(got.bytes, "x-request-id: ") + 14;
    CHECK(strchr(id, '\r') - id == 36 && id[14] == '4');
    got_free(&got);
}

static const char hold_request[] = "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n";

static int hold_one(struct got *got)
{
    int fd = connect_client();
    unsigned before = held_count;
    put(fd, hold_request, sizeof(hold_request) - 1, got);
    for (int i = 0; i < 200 && held_count == before; i++)
        loop_turn(loop, 1);
    CHECK(held_count == before + 1);
    return fd;
}

static void test_late_answer(void)
{
    struct got got = {0};
    int fd = hold_one(&got);
    CHECK(http_server_open_exchanges(server) == 1);
    turn_for(250);
    CHECK(held_count == 1);
    answer_held();
    await(fd, &got, 1, 1000);
    CHECK(HAS(got, "\r\n\r\nlate"));
    put(fd, "GET /more HTTP/1.1\r\nHost: a\r\n\r\n", 31, &got);
    await(fd, &got, 2, 1000);
    CHECK(HAS(got, "path=[/more]"));
    CHECK(http_server_open_exchanges(server) == 0);
    close(fd);
    got_free(&got);
}

static void test_client_resets(void)
{
    struct got got = {0};
    struct linger linger = {.l_onoff = 1};
    int fd = hold_one(&got), other = hold_one(&got);
    gone_count = 0;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
    turn_for(300);
    CHECK(gone_count == 1 && held_count == 1);
    CHECK(http_server_open_exchanges(server) == 1);
    answer_held();
    await(other, &got, 1, 1000);
    CHECK(HAS(got, "late"));
    close(other);
    got_free(&got);
}

static void test_client_closes(void)
{
    struct got got = {0};
    int fd = hold_one(&got);
    gone_count = 0;
    close(fd);
    turn_for(500);
    CHECK(gone_count == 0);
    turn_for(1000);
    CHECK(gone_count == 1 && held_count == 0 && http_server_open_exchanges(server) == 0);
    got_free(&got);
}

static void test_half_closed_client_gets_its_answer(void)
{
    struct got got = {0};
    int fd = hold_one(&got);
    gone_count = 0;
    shutdown(fd, SHUT_WR);
    turn_for(400);
    answer_held();
    await(fd, &got, 0, 1000);
    CHECK(HAS(got, "late") && got.closed && !got.reset && gone_count == 0);
    close(fd);
    got_free(&got);
}

static void test_descriptors_run_out(void)
{
    struct rlimit old, low;
    int fds[40];
    getrlimit(RLIMIT_NOFILE, &old);
    int next = dup(0);
    close(next);
    for (size_t i = 0; i < LEN(fds); i++)
        fds[i] = connect_client(); /* in the backlog: the loop has not turned */
    low = old;
    low.rlim_cur = (rlim_t)next + LEN(fds) + 5;
    setrlimit(RLIMIT_NOFILE, &low);
    turn_for(20);
    uint64_t start = clock_now_ns(); /* the loop must not spin meanwhile */
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 30);
    CHECK(clock_now_ns() - start > 60000000);
    for (size_t i = 0; i < LEN(fds) - 1; i++)
        close(fds[i]);
    setrlimit(RLIMIT_NOFILE, &old);
    struct got got = {0};
    put(fds[LEN(fds) - 1], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, &got);
    await(fds[LEN(fds) - 1], &got, 1, 2000);
    CHECK(HAS(got, "200 OK"));
    close(fds[LEN(fds) - 1]);
    got_free(&got);
}

static void test_stop_accepting(void)
{
    struct got idle_got = {0}, busy_got = {0}, got = {0};
    serve(&options);
    int idle = connect_client();
    int busy = hold_one(&busy_got);
    put(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, &idle_got);
    await(idle, &idle_got, 1, 1000);
    CHECK(!idle_got.closed);
    http_server_stop_accepting(server);
    await(idle, &idle_got, 0, 1000);
    CHECK(idle_got.closed);
    CHECK(http_server_open_exchanges(server) == 1);
    answer_held();
    await(busy, &busy_got, 0, 1000);
    CHECK(HAS(busy_got, "Connection: close") && HAS(busy_got, "late") && busy_got.closed);
    CHECK(http_server_open_exchanges(server) == 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int refused = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(refused, (struct sockaddr *)&address, sizeof(address)) != 0);
    close(refused);
    close(idle);
    close(busy);
    got_free(&idle_got);
    got_free(&busy_got);
    got_free(&got);
    serve_no_more();
}

static void test_free_with_open_exchanges(void)
{
    struct got got = {0};
    serve(&options);
    int fds[3] = {hold_one(&got), hold_one(&got), connect_client()};
    put(fds[2], "GET / HT", 8, &got);
    turn_for(5);
    gone_count = 0;
    serve_no_more();
    CHECK(gone_count == 2 && held_count == 0);
    for (size_t i = 0; i < LEN(fds); i++)
        close(fds[i]);
    got_free(&got);
}

static void test_timeouts(void)
{
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        {"", NULL},
        {"GET", "408 Request Timeout"},
        {"POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: slow\r\nContent-Length: 5\r\n\r\nab",
         "x-request-id: slow\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na",
         "\"code\":\"REQUEST_TIMEOUT\""},
        {"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2", "408 Request Timeout"},
    };
    struct server_options quick = options;
    quick.client_timeout = 150;
    serve(&quick);
    for (size_t i = 0; i < LEN(rows); i++) {
        struct got got = {0};
        int fd = connect_client();
        put(fd, rows[i].bytes, strlen(rows[i].bytes), &got);
        await(fd, &got, 0, 3000);
        CHECK(got.closed && !got.reset);
        CHECK(rows[i].want ? HAS(got, rows[i].want) : got.len == 0);
        close(fd);
        got_free(&got);
    }
    serve_no_more();
}

/* A body that comes slowly but steadily outlives the time-out; one that drips does not. */
static void test_steady_body(void)
{
    struct server_options quick = options;
    quick.client_timeout = 100;
    serve(&quick);
    for (int steady = 0; steady < 2; steady++) {
        struct got got = {0};
        char piece[200];
        memset(piece, 'p', sizeof(piece));
        size_t size = steady ? 20 * sizeof(piece) : 20;
        char head[100];
        sprintf(head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", size);
        int fd = connect_client();
        put(fd, head, strlen(head), &got);
        for (int i = 0; i < 20 && !got.closed; i++) {
            put(fd, piece, size / 20, &got);
            turn_for(20);
        }
        await(fd, &got, 1, 3000);
        CHECK(HAS(got, steady ? "200 OK" : "408 Request Timeout"));
        close(fd);
        got_free(&got);
    }
    serve_no_more();
}

/* It asks for much and reads nothing. */
static void test_client_that_does_not_read(void)
{
    struct server_options quick = options;
    struct got got = {0};
    quick.client_timeout = 200;
    serve(&quick);
    int fd = connect_client();
    static char requests[4096];
    for (int i = 0; i < 100; i++)
        strcat(requests, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(send(fd, requests, strlen(requests), 0) == (ssize_t)strlen(requests));
    turn_for(50);
    CHECK(http_server_open_exchanges(server) == 1);
    for (int i = 0; i < 100 && http_server_open_exchanges(server) > 0; i++)
        turn_for(50);
    CHECK(http_server_open_exchanges(server) == 0);
    close(fd);
    got_free(&got);
    serve_no_more();
}

static void test_listen_errors(void)
{
    struct err err;
    uint16_t taken = 0, same;
    int fd = http_listen_tcp("127.0.0.1", &taken, &err);
    CHECK(fd >= 0);
    same = taken;
    CHECK(http_listen_tcp("127.0.0.1", &same, &err) == -1 && strstr(err.message, "in use"));
    CHECK(http_listen_tcp("not a host", &same, &err) == -1);
    close(fd);
}

int main(void)
{
    serve(&options);
    test_request();
    test_bodies();
    test_continue();
    test_keep_alive_and_pipelining();
    test_pipelining_in_pieces();
    test_responses();
    test_bad_path();
    test_ids();
    test_late_answer();
    test_client_resets();
    test_client_closes();
    test_half_closed_client_gets_its_answer();
    test_descriptors_run_out();
    serve_no_more();
    test_stop_accepting();
    test_free_with_open_exchanges();
    test_timeouts();
    test_steady_body();
    test_client_that_does_not_read();
    test_listen_errors();
    return 0;
}
