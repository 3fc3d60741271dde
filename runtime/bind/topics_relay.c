#include "bind/topics_relay.h"

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/utf8.h"

/* A message is a list of: a byte that is 1 for binary data, two lengths, the topic, the data. */
enum { HEAD = 9, TOGETHER = 256 << 10 /* bytes, then it goes at once */ };

static void put_length(struct buf *out, size_t len)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(out, (char)(unsigned char)(len >> shift));
}

static size_t length_at(const char *at)
{
    size_t len = 0;

    for (int i = 0; i < 4; i++)
        len = len << 8 | (unsigned char)at[i];
    return len;
}

void topics_write(struct buf *out, const struct published *p)
{
    buf_putc(out, p->binary ? 1 : 0);
    put_length(out, p->topic.len);
    put_length(out, p->data.len);
    buf_add_str(out, p->topic);
    buf_add_str(out, p->data);
}

bool topics_read(struct str *rest, struct published *p)
{
    size_t topic_len, data_len;

    if (rest->len < HEAD)
        return false;
    p->binary = rest->at[0] != 0;
    topic_len = length_at(rest->at + 1);
    data_len = length_at(rest->at + 5);
    if (topic_len > rest->len - HEAD || data_len > rest->len - HEAD - topic_len)
        return false;
    p->topic = (struct str){rest->at + HEAD, topic_len};
    p->data = (struct str){p->topic.at + topic_len, data_len};
    *rest = (struct str){p->data.at + data_len, rest->len - HEAD - topic_len - data_len};
    return true;
}

/* --- to the others --- */

static void send_out(struct topics_relay *relay)
{
    const bool sent = bus_broadcast(relay->bus, "topics", buf_str(&relay->out));

    loop_unpost(relay->loop, &relay->post);
    if (!sent && !relay->lossy)
        log_printf(LOG_WARN, "what is published on topics does not reach the other replicas: %s",
                   relay->out.len > bus_payload_max(relay->bus) ? "a message is too large"
                                                                : "too much is on its way");
    relay->lossy = !sent;
    if (relay->out.len > TOGETHER)
        buf_fini(&relay->out);
    else
        buf_reset(&relay->out);
}

static void send_at_last(struct post *post)
{
    send_out((struct topics_relay *)((char *)post - offsetof(struct topics_relay, post)));
}

void topics_relay_publish(struct topics_relay *relay, const struct published *p)
{
    const size_t size = HEAD + p->topic.len + p->data.len;

    if (!relay->bus)
        return;
    if (relay->out.len > 0 && relay->out.len + size > bus_payload_max(relay->bus))
        send_out(relay);
    topics_write(&relay->out, p);
    if (relay->out.len >= TOGETHER)
        send_out(relay);
    else
        loop_post(relay->loop, &relay->post);
}

/* --- from the others --- */

static void heard(struct bus_listener *listener, struct str from, struct str payload)
{
    struct topics_relay *relay =
        (struct topics_relay *)((char *)listener - offsetof(struct topics_relay, listener));
    struct published p;

    (void)from;
    while (topics_read(&payload, &p)) {
        if (p.binary || utf8_valid(p.data))
            relay->heard(relay, &p);
    }
}

/* --- the whole --- */

void topics_relay_start(struct topics_relay *relay)
{
    if (!relay->bus)
        return;
    relay->post.run = send_at_last;
    relay->listener = (struct bus_listener){.kind = "topics", .heard = heard};
    bus_listen(relay->bus, &relay->listener);
}

void topics_relay_stop(struct topics_relay *relay)
{
    if (!relay->bus)
        return;
    bus_unlisten(relay->bus, &relay->listener);
    loop_unpost(relay->loop, &relay->post);
    buf_fini(&relay->out);
}
