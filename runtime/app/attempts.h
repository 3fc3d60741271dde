/* Wrong credentials, remembered by peer: ten within a minute, and the peer has to wait.
 *
 * Bounded: of more peers than fit, the one that has been quiet for longest is forgotten. An IPv6
 * peer is its /64, as a host has all of those addresses. `{0}` is empty; attempts_fini() frees.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { ATTEMPTS_MAX = 10, ATTEMPTS_WINDOW_MS = 60000, ATTEMPT_PEERS_MAX = 1024 };

struct attempt_peer;

struct attempts {
    struct attempt_peer *peers; /* made with the first wrong credential */
    size_t len;
};

/* How many seconds the peer has to wait, or 0. `now_ms` is of a clock that never goes back. */
unsigned attempts_wait(const struct attempts *attempts, struct str ip, uint64_t now_ms);
void attempts_add(struct attempts *attempts, struct str ip, uint64_t now_ms);
bool attempts_address(struct str ip); /* whether it is one */
void attempts_fini(struct attempts *attempts);
