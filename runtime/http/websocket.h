/* WebSocket connections: an exchange that was upgraded, framing and its rules by wslay.
 *
 * A socket has one owner, who is told of messages and of the end. Sending queues; over QUEUE_MAX
 * the client reads too slowly and is cut. An owner that pauses is sent no more messages than those
 * that were read already. Knows no Lua.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct exchange;
struct websocket;

struct websocket_options {
    size_t max_message; /* bytes; over it 1009 */
    uint64_t ping_ms;   /* a client that stays silent for two of these is cut; 0: never */
    void (*message)(void *owner, struct str data, bool binary);
    void (*closed)(void *owner, unsigned code, struct str reason); /* once; the socket is gone */
    void *owner;
};

enum {
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_ABNORMAL = 1006, /* told to the owner, never sent */
    WEBSOCKET_FAILED = 1011,
    WEBSOCKET_RESTART = 1012,
    WEBSOCKET_BUSY = 1013,
};

/* For the `start` of a source whose `upgrade` is set. NULL: the request is no handshake that can be
 * answered; its connection is closed.
 */
struct websocket *websocket_upgrade(struct exchange *x, const struct websocket_options *options);

void websocket_send(struct websocket *ws, struct str data, bool binary);
void websocket_close(struct websocket *ws, unsigned code, struct str reason);
bool websocket_closing(const struct websocket *ws);
void websocket_pause(struct websocket *ws, bool pause);
void websocket_disown(struct websocket *ws); /* the owner goes; it is told nothing more */
