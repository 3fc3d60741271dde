/* What a connection keeps of what it has read: a request in a buffer of its size while it is
 * answered, nothing while it is idle.
 */
#include "test_server_support.h"

#include "http/server_impl.h"

enum { LARGE = 3000 };

static struct exchange *waiting;

static void on_request(void *app, struct exchange *x)
{
    (void)app;
    waiting = x;
}

static h2o_socket_t *socket_of_the_client(void)
{
    const struct connection *c =
        H2O_STRUCT_FROM_MEMBER(struct connection, link, server->connections.next);
    return c->socket;
}

static void await_request(void)
{
    const uint64_t end = clock_now_ns() + UINT64_C(5000000000);
    while (!waiting && clock_now_ns() < end)
        loop_turn(loop, 1);
    CHECK(waiting);
}

static void answer(int fd, struct got *got, int count)
{
    exchange_respond(waiting, 200);
    exchange_res_set_body(waiting, exchange_header(waiting, STR("x-a")));
    exchange_send(waiting);
    waiting = NULL;
    await(fd, got, count, 5000);
    turn_for(5);
}

static void ask(int fd, size_t value, struct got *got)
{
    char bytes[LARGE + 100];
    const int len = sprintf(bytes, "GET / HTTP/1.1\r\nHost: a\r\nX-A: %0*d\r\n\r\n", (int)value, 7);
    put(fd, bytes, (size_t)len, got);
    await_request();
}

int main(void)
{
    static const struct server_options options = {
        .on_request = on_request, .body_limit = 1000, .client_timeout = 30000};
    struct got got = {0};
    serve(&options);
    const int fd = connect_client();
    turn_for(5);
    CHECK(socket_of_the_client()->input->bytes == NULL);

    static const size_t sizes[] = {10, 700, LARGE, 10};
    for (int i = 0; i < 4; i++) {
        ask(fd, sizes[i], &got);
        const size_t kept = socket_of_the_client()->input->capacity;
        CHECK(kept >= sizes[i] && (sizes[i] == LARGE || kept < sizes[i] + 600));
        answer(fd, &got, i + 1);
        CHECK(responses_end(&got, i + 1) == got.bytes + got.len);
        CHECK(got.bytes[got.len - 1] == '7');
        CHECK(socket_of_the_client()->input->bytes == NULL);
    }
    close(fd);
    turn_for(5);
    got_free(&got);
    serve_no_more();
    return 0;
}
