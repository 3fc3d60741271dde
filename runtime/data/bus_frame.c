/* A message's bytes: "buntime1 FROM KIND PAYLOAD", and the names of replicas. */
#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/random.h"
#include "data/bus_impl.h"

static const struct str head = {"buntime1 ", 9};

void bus_frame_write(struct buf *out, const struct bus_frame *frame)
{
    buf_add_str(out, head);
    buf_add_str(out, frame->from);
    buf_putc(out, ' ');
    buf_add_str(out, frame->kind);
    buf_putc(out, ' ');
    buf_add_str(out, frame->payload);
}

/* Up to the next space, which is left out. Absent: there is none, or it is no word. */
static struct str take_word(struct str *rest, size_t max)
{
    const char *space = rest->len > 0 ? memchr(rest->at, ' ', rest->len) : NULL;
    const struct str word = {rest->at, space ? (size_t)(space - rest->at) : 0};

    if (word.len == 0 || word.len >= max)
        return (struct str){0};
    for (size_t i = 0; i < word.len; i++) {
        if (!isalnum((unsigned char)word.at[i]) && word.at[i] != '-' && word.at[i] != '.')
            return (struct str){0};
    }
    rest->at += word.len + 1;
    rest->len -= word.len + 1;
    return word;
}

bool bus_frame_read(struct str bytes, struct bus_frame *frame)
{
    if (!str_starts(bytes, head))
        return false;
    bytes.at += head.len;
    bytes.len -= head.len;
    frame->from = take_word(&bytes, BUS_ID_MAX);
    if (!frame->from.at)
        return false;
    frame->kind = take_word(&bytes, BUS_KIND_MAX);
    frame->payload = bytes;
    return frame->kind.at != NULL;
}

void bus_make_id(char id[static BUS_ID_MAX])
{
    char host[64] = "", hex[9] = "";
    unsigned char random[4];

    if (gethostname(host, sizeof(host)) != 0 || !*host)
        snprintf(host, sizeof(host), "replica");
    host[sizeof(host) - 1] = '\0';
    for (char *at = host; *at; at++) {
        if (!isalnum((unsigned char)*at) && *at != '.')
            *at = '-';
    }
    random_bytes(random, sizeof(random));
    hex_encode((struct str){(const char *)random, sizeof(random)}, hex);
    snprintf(id, BUS_ID_MAX, "%s-%s", host, hex);
}
