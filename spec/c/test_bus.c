/* The bus without a database: frames, and what is heard of what comes. */
#include "base/mem.h"
#include "data/bus_impl.h"

#include "check.h"

/* --- frames --- */

static void test_frames(void)
{
    const struct bus_frame frames[] = {
        {STR("a-1"), STR("reload"), STR("")},
        {STR("web.1-00ff"), STR("topic"), STR("a b\0 c\n")},
        {STR("x"), STR("y"), STR(" ")},
    };
    struct bus_frame got;

    for (size_t i = 0; i < LEN(frames); i++) {
        struct buf bytes = {0};

        bus_frame_write(&bytes, &frames[i]);
        CHECK(bus_frame_read(buf_str(&bytes), &got));
        CHECK(str_equal(got.from, frames[i].from) && str_equal(got.kind, frames[i].kind));
        CHECK(str_equal(got.payload, frames[i].payload));
        buf_fini(&bytes);
    }
}

static const char *const odd[] = {
    "",
    "buntime1",
    "buntime1 ",
    "buntime1 a",
    "buntime1 a b",
    "buntime1  b c",
    "buntime1 a  c",
    "buntime2 a b c",
    "buntime1 a_ b c",
    "buntime1 a\n b c",
    "buntime1 a 0123456789012345678901234567890123456789 c",
    "buntime1 "
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    " b c",
    "hello",
};

static void test_odd_frames(void)
{
    struct bus_frame got;

    for (size_t i = 0; i < LEN(odd); i++)
        CHECK(!bus_frame_read(str_of(odd[i]), &got));
}

static void test_ids(void)
{
    char a[BUS_ID_MAX], b[BUS_ID_MAX];
    struct buf bytes = {0};
    struct bus_frame got;

    bus_make_id(a);
    bus_make_id(b);
    CHECK(strcmp(a, b) != 0);
    bus_frame_write(&bytes, &(struct bus_frame){str_of(a), STR("k"), STR("p")});
    CHECK(bus_frame_read(buf_str(&bytes), &got) && str_equal(got.from, str_of(a)));
    buf_fini(&bytes);
}

/* --- hearing --- */

struct ear {
    struct bus_listener listener; /* first: heard() casts back */
    unsigned count, restored;
    size_t last_len;
};

static void heard(struct bus_listener *listener, struct str from, struct str payload)
{
    struct ear *ear = (struct ear *)listener;

    CHECK(str_equal(from, STR("other-1")));
    ear->count++;
    ear->last_len = payload.len;
}

static void restored(struct bus_listener *listener)
{
    ((struct ear *)listener)->restored++;
}

static unsigned problems;

static void on_problem(void *app, const struct err *err)
{
    (void)app;
    CHECK_STR(err->code, "BUS_MESSAGE");
    problems++;
}

static void receive(struct bus *bus, struct str from, struct str kind, struct str payload)
{
    struct buf bytes = {0};

    bus_frame_write(&bytes, &(struct bus_frame){from, kind, payload});
    bus_heard(bus, buf_str(&bytes));
    buf_fini(&bytes);
}

static struct loop *loop;
static struct bus *bus;

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        CHECK(loop_turn(loop, 0));
}

static void test_hearing(void)
{
    struct ear a = {.listener = {.kind = "a", .heard = heard, .restored = restored}};
    struct ear b = {.listener = {.kind = "b", .heard = heard}};

    bus_listen(bus, &a.listener);
    bus_listen(bus, &b.listener);
    receive(bus, STR("other-1"), STR("a"), STR("12345"));
    CHECK(a.count == 0); /* on a later turn */
    turn();
    CHECK(a.count == 1 && a.last_len == 5 && b.count == 0);
    receive(bus, str_of(bus_id(bus)), STR("a"), STR("mine"));
    receive(bus, STR("other-1"), STR("nobody"), STR("hears this"));
    turn();
    CHECK(a.count == 1 && a.restored == 0);
    receive(bus, STR("other-1"), STR("missed"), STR(""));
    turn();
    CHECK(a.restored == 1);
    bus_unlisten(bus, &a.listener);
    receive(bus, STR("other-1"), STR("a"), STR("1"));
    receive(bus, STR("other-1"), STR("b"), STR("1"));
    turn();
    CHECK(a.count == 1 && b.count == 1);
    bus_unlisten(bus, &b.listener);
}

static void test_odd_messages(void)
{
    problems = 0;
    for (size_t i = 0; i < LEN(odd); i++)
        bus_heard(bus, str_of(odd[i]));
    turn();
    CHECK(problems == 1);
}

/* What does not fit is dropped, and its listeners know that something is missing. */
static void test_flood(void)
{
    enum { PIECE = 1 << 20, PIECES = 40 };
    struct ear ear = {.listener = {.kind = "a", .heard = heard, .restored = restored}};
    char *piece = mem_alloc(PIECE);

    bus_listen(bus, &ear.listener);
    for (int i = 0; i < PIECES; i++)
        receive(bus, STR("other-1"), STR("a"), (struct str){piece, PIECE});
    CHECK(bus->in_bytes <= BUS_IN_BYTES);
    turn();
    CHECK(ear.count == 15 && ear.restored == 1 && bus->in_bytes == 0);
    for (int i = 0; i < 3 * BUS_TURN; i++)
        receive(bus, STR("other-1"), STR("a"), STR("small"));
    turn();
    CHECK(ear.count == 15 + 3 * BUS_TURN);
    bus_unlisten(bus, &ear.listener);
    free(piece);
}

/* --- sending --- */

static struct {
    unsigned count;
    char last[128];
} wire;

static void *no_start(struct bus *starting)
{
    (void)starting;
    return NULL;
}

static void no_stop(void *state)
{
    (void)state;
}

static void wire_send(void *state, struct str message)
{
    (void)state;
    wire.count++;
    snprintf(wire.last, sizeof(wire.last), "%.*s", (int)message.len, message.at);
}

static const struct bus_way way = {no_start, no_stop, wire_send, 1024};

static void test_sending(void)
{
    char big[1025] = "";
    size_t len;

    CHECK(bus_alone(bus) && bus_broadcast(bus, "a", STR("nobody")) && wire.count == 0);
    bus->way = &way;
    CHECK(bus_broadcast(bus, "a", STR("too early")) && wire.count == 0);
    bus_start(bus);
    CHECK(!bus_alone(bus) && bus_broadcast(bus, "a", STR("x")) && wire.count == 1);
    CHECK(strstr(wire.last, bus_id(bus)) && strstr(wire.last, " a x"));
    len = strlen(wire.last);
    CHECK(!bus_broadcast(bus, "a", (struct str){big, sizeof(big)}));
    /* It is made good for as soon as something comes through. */
    bus_sent(bus, len, true);
    CHECK(wire.count == 2 && strstr(wire.last, " missed "));
    bus_sent(bus, strlen(wire.last), true);
    CHECK(bus->out == 0 && bus->out_bytes == 0 && !bus->owes);
    for (int i = 0; i < BUS_OUT_MAX; i++)
        CHECK(bus_broadcast(bus, "a", STR("x")));
    CHECK(!bus_broadcast(bus, "a", STR("x")));
    CHECK(bus->out == BUS_OUT_MAX);
}

/* What is on its way is bounded to the byte, also by its heads. */
static void test_sending_much(void)
{
    static const struct bus_way wide = {no_start, no_stop, wire_send, BUS_MESSAGE_MAX};
    const struct bus_options options = {.loop = loop};
    struct bus *sender = bus_new(&options);
    char *bytes = mem_alloc(BUS_MESSAGE_MAX);

    sender->way = &wide;
    bus_start(sender);
    for (size_t len = bus_payload_max(sender); len > 0; len /= 2) {
        while (sender->out_bytes <= BUS_OUT_BYTES &&
               bus_broadcast(sender, "a", (struct str){bytes, len}))
            continue;
        CHECK(sender->out_bytes <= BUS_OUT_BYTES);
    }
    CHECK(!bus_broadcast(sender, "a", (struct str){bytes, 1000}));
    free(bytes);
    bus_free(sender);
}

/* Messages without bytes take room as well. */
static void test_hearing_nothing(void)
{
    const unsigned most = BUS_IN_BYTES / sizeof(struct bus_message);
    unsigned waiting = 0;

    for (unsigned i = 0; i <= most; i++)
        bus_heard(bus, STR(""));
    for (const struct bus_message *m = bus->first; m; m = m->next)
        waiting++;
    CHECK(waiting == most && bus->restored);
    while (bus->first)
        CHECK(loop_turn(loop, 0));
    CHECK(bus->in_bytes == 0);
}

int main(void)
{
    struct err err;
    struct bus_options options = {.on_problem = on_problem};

    loop = options.loop = loop_new(&err);
    CHECK(loop);
    bus = bus_new(&options);
    test_frames();
    test_odd_frames();
    test_ids();
    test_hearing();
    test_odd_messages();
    test_flood();
    test_hearing_nothing();
    test_sending();
    test_sending_much();
    receive(bus, STR("other-1"), STR("a"), STR("never heard"));
    bus_free(bus);
    loop_free(loop);
    return 0;
}
