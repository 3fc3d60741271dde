/* A connected stream socket to another process of ours: bytes in, bytes out, nothing blocks.
 *
 * What is written during a turn of the loop leaves in one piece at its end. The struct is the
 * caller's and must outlive channel_close(); the descriptor becomes the channel's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "ev/loop.h"

struct channel {
    /* Gives how many of the bytes were used up; the rest is shown again with more. May close the
     * channel.
     */
    size_t (*input)(struct channel *channel, struct str bytes);
    void (*ended)(struct channel *channel); /* the other side is gone; called once */

    struct loop *loop;
    void *socket; /* NULL: closed */
    struct buf in, out;
    size_t out_at; /* bytes of `out` that have left */
    struct post flush;
    bool waiting; /* for the socket to take more */
    bool over;    /* the end was told */
};

void channel_open(struct channel *channel, struct loop *loop, int fd);
/* Where to append what is to be sent; it will be, soon. After its end it leads nowhere, until
 * channel_close() once more.
 */
struct buf *channel_out(struct channel *channel);
size_t channel_pending(const struct channel *channel); /* bytes that have not left yet */
void channel_flush(struct channel *channel);           /* sends now what the socket takes */
/* Reads what is there now; for one whose other side has ended. */
void channel_drain(struct channel *channel);
void channel_close(struct channel *channel);
