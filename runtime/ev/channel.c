#include "ev/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "ev/loop_impl.h"

enum {
    READ_BYTES = 64 * 1024,
    READS_AT_ONCE = 8,
    FLUSH_BYTES = 128 * 1024, /* so much does not wait for the turn's end */
    KEEP_BYTES = 256 * 1024,  /* a larger buffer is given back when it is empty */
};

static void tell_end(struct channel *channel)
{
    if (channel->over)
        return;
    channel->over = true;
    channel->ended(channel);
}

/* Hands on what was read; false once the channel is closed. */
static bool deliver(struct channel *channel)
{
    struct buf *in = &channel->in;
    const size_t used = channel->input(channel, buf_str(in));

    if (!channel->socket)
        return false;
    if (used == in->len)
        buf_reset(in);
    else if (used)
        memmove(in->data, in->data + used, in->len -= used);
    if (in->len == 0 && in->cap > KEEP_BYTES)
        buf_fini(in);
    return true;
}

static int descriptor(const struct channel *channel)
{
    return h2o_socket_get_fd(channel->socket);
}

/* False when there is nothing to read now, or never will be. */
static bool read_some(struct channel *channel)
{
    char *at = buf_reserve(&channel->in, READ_BYTES);
    const ssize_t n = recv(descriptor(channel), at, READ_BYTES, MSG_DONTWAIT);

    if (n > 0) {
        channel->in.len += (size_t)n;
        return deliver(channel) && n == READ_BYTES;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        tell_end(channel);
    return false;
}

static void on_readable(h2o_socket_t *socket, const char *failure)
{
    struct channel *channel = socket->data;

    if (failure) {
        tell_end(channel);
        return;
    }
    for (int i = 0; i < READS_AT_ONCE && read_some(channel); i++)
        continue;
}

static void on_writable(h2o_socket_t *socket, const char *failure)
{
    struct channel *channel = socket->data;

    channel->waiting = false;
    if (!failure)
        channel_flush(channel);
}

static void on_flush(struct post *post)
{
    channel_flush(H2O_STRUCT_FROM_MEMBER(struct channel, flush, post));
}

void channel_open(struct channel *channel, struct loop *loop, int fd)
{
    h2o_socket_t *socket = h2o_evloop_socket_create(loop->h2o, fd, H2O_SOCKET_FLAG_DONT_READ);

    channel->loop = loop;
    channel->socket = socket;
    channel->flush.run = on_flush;
    socket->data = channel;
    h2o_socket_read_start(socket, on_readable);
}

struct buf *channel_out(struct channel *channel)
{
    if (channel->out.len - channel->out_at > FLUSH_BYTES && !channel->waiting)
        channel_flush(channel);
    if (channel->socket)
        loop_post(channel->loop, &channel->flush);
    else
        buf_reset(&channel->out);
    return &channel->out;
}

size_t channel_pending(const struct channel *channel)
{
    return channel->out.len - channel->out_at;
}

static void forget_sent(struct channel *channel)
{
    struct buf *out = &channel->out;

    channel->out_at = 0;
    buf_reset(out);
    if (out->cap > KEEP_BYTES)
        buf_fini(out);
}

/* The socket is full: what has left makes room for what comes. */
static void wait_for_room(struct channel *channel)
{
    struct buf *out = &channel->out;

    channel->waiting = true;
    memmove(out->data, out->data + channel->out_at, out->len - channel->out_at);
    out->len -= channel->out_at;
    channel->out_at = 0;
    h2o_socket_notify_write(channel->socket, on_writable);
}

/* A write that fails is not told: the end of reading follows it. */
void channel_flush(struct channel *channel)
{
    struct buf *out = &channel->out;

    while (channel->socket && !channel->waiting && channel->out_at < out->len) {
        const ssize_t n = send(descriptor(channel), out->data + channel->out_at,
                               out->len - channel->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            channel->out_at += (size_t)n;
        } else if (errno == EAGAIN) {
            wait_for_room(channel);
        } else if (errno != EINTR) {
            break;
        }
    }
    if (!channel->waiting)
        forget_sent(channel);
}

void channel_drain(struct channel *channel)
{
    while (channel->socket && read_some(channel))
        continue;
}

void channel_close(struct channel *channel)
{
    if (channel->socket) {
        loop_unpost(channel->loop, &channel->flush);
        h2o_socket_close(channel->socket);
    }
    channel->socket = NULL;
    channel->over = true;
    buf_fini(&channel->in);
    buf_fini(&channel->out);
    channel->out_at = 0;
}
