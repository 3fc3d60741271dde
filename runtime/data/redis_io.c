/* Bytes from and to a connection: hiredis writes, reads and parses; what it parses becomes flat
 * values. */
#include "data/redis_impl.h"

#include <stdio.h>
#include <string.h>

#include <hiredis/sds.h>

enum {
    READ_SIZE = 16 << 10, /* what hiredis reads at once */
    READS_MAX = 16,       /* in one turn of the loop */
    GROWS_SLOWLY = 1 << 20,
};

/* --- replies, piece by piece --- */

/* Chosen at its first piece: a request that is submitted later does not come first. */
static struct buf *choose_target(struct redis_conn *c)
{
    if (c->state == REDIS_READY && c->on_way.first)
        return &c->on_way.first->replies;
    buf_reset(&c->incoming);
    return &c->incoming;
}

static void *put(const redisReadTask *task, const struct redis_value *value)
{
    struct redis_conn *c = task->privdata;

    if (!c->target)
        c->target = choose_target(c);
    redis_put(c->target, value);
    return c; /* not NULL: hiredis wants an object */
}

static void *put_string(const redisReadTask *task, char *at, size_t len)
{
    const bool error = task->type == REDIS_REPLY_ERROR;

    return put(task, &(struct redis_value){
                         .type = error ? REDIS_ERROR : REDIS_STRING,
                         .bytes = {at, len},
                     });
}

static void *put_list(const redisReadTask *task, int count)
{
    return put(task, &(struct redis_value){.type = REDIS_LIST, .integer = count});
}

static void *put_integer(const redisReadTask *task, long long integer)
{
    return put(task, &(struct redis_value){.type = REDIS_INTEGER, .integer = integer});
}

static void *put_nil(const redisReadTask *task)
{
    return put(task, &(struct redis_value){.type = REDIS_NIL});
}

static void free_nothing(void *object)
{
    (void)object;
}

static const redisReplyObjectFunctions functions = {
    put_string, put_list, put_integer, put_nil, free_nothing,
};

void redis_use_reader(struct redis_conn *c)
{
    c->context->reader->fn = (redisReplyObjectFunctions *)(uintptr_t)&functions;
    c->context->reader->privdata = c;
}

/* --- whole replies --- */

static struct str first_line(const struct redis_value *value)
{
    const char *end = memchr(value->bytes.at, '\n', value->bytes.len);

    return (struct str){value->bytes.at, end ? (size_t)(end - value->bytes.at) : value->bytes.len};
}

static void take_greeting(struct redis_conn *c)
{
    struct redis_value value;
    char message[256];

    redis_get(c->incoming.data, &value);
    if (value.type == REDIS_ERROR) {
        const struct str line = first_line(&value);
        snprintf(message, sizeof(message), "%.*s", (int)line.len, line.at);
        redis_connect_failed(c, message);
    } else if (--c->greetings == 0) {
        redis_conn_ready(c);
    }
}

/* Such as "max number of clients reached", before it hangs up. */
static void refuse_unasked(struct redis_conn *c)
{
    struct redis_value value;

    redis_get(c->incoming.data, &value);
    redis_conn_lose(c, "CONNECTION_LOST", "the server says: %.*s",
                    value.type == REDIS_ERROR ? (int)value.bytes.len : 0, value.bytes.at);
}

static void take_reply(struct redis_conn *c)
{
    struct redis_request *r = c->on_way.first;

    if (c->target == &c->incoming) {
        if (c->state == REDIS_GREETING)
            take_greeting(c);
        else if (c->role == ROLE_SUBSCRIBED)
            redis_subscribed_heard(c);
        else
            refuse_unasked(c);
        return;
    }
    if (r->cancelled)
        buf_reset(&r->replies);
    if (++r->got < r->count)
        return;
    redis_queue_take(&c->on_way);
    r->ok = true;
    redis_finish(r);
}

static bool is_too_large(const struct redis_conn *c)
{
    const redisReader *reader = c->context->reader;

    return reader->len - reader->pos > REDIS_RESULT_MAX ||
           (c->target && c->target->len > REDIS_RESULT_MAX);
}

static void take_replies(struct redis_conn *c)
{
    while (!c->lost) {
        redisReader *reader = c->context->reader;
        void *reply = NULL;

        if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
            redis_conn_lose(c, "CONNECTION_LOST", "this is not Redis: %s", reader->errstr);
            return;
        }
        if (is_too_large(c)) {
            redis_conn_lose(c, "RESULT_TOO_LARGE", "the reply is more than %d MB",
                            REDIS_RESULT_MAX >> 20);
            return;
        }
        if (!reply)
            return;
        take_reply(c);
        if (!c->lost)
            c->target = NULL;
    }
}

/* --- the descriptor --- */

void redis_watch(struct redis_conn *c, unsigned events)
{
    struct err err;

    if (c->events == events)
        return;
    c->events = events;
    if (!poll_start(c->redis->loop, &c->poll, c->context->fd, events, &err))
        redis_conn_lose(c, "CONNECTION_LOST", "%s", err.message);
}

void redis_write(struct redis_conn *c)
{
    int done = 0;

    c->unsent = false;
    if (redisBufferWrite(c->context, &done) != REDIS_OK) {
        redis_conn_lose(c, "CONNECTION_LOST", "the connection was lost: %s", c->context->errstr);
        return;
    }
    redis_watch(c, POLL_READ | (done ? 0u : POLL_WRITE));
}

/* From a megabyte on hiredis makes room for one more at a time, and copies all the others. */
static void make_room(redisReader *reader)
{
    if (reader->len >= GROWS_SLOWLY && sdsavail(reader->buf) < READ_SIZE)
        reader->buf = sdsMakeRoomFor(reader->buf, reader->len);
}

void redis_read(struct redis_conn *c)
{
    for (unsigned i = 0; i < READS_MAX && !c->lost; i++) {
        const size_t before = c->context->reader->len;
        size_t got;

        make_room(c->context->reader);
        if (redisBufferRead(c->context) != REDIS_OK) {
            redis_conn_lose(c, "CONNECTION_LOST", "the connection was lost: %s",
                            c->context->errstr);
            return;
        }
        got = c->context->reader->len - before;
        c->quiet = false;
        take_replies(c);
        if (got < READ_SIZE)
            break;
    }
    if (!c->lost)
        redis_conn_rest(c);
}
