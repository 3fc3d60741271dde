/* A page that the server and one worker process share: what runs there, and which requests it has
 * begun. The server reads it when the process is slow or dead, when nothing else tells.
 *
 * Requests of a process have ascending stream numbers. Before it begins one the worker claims it;
 * the server may revoke all that are not claimed yet, exactly, and give them to another process.
 * The worker may have written anything here: it can harm only its own app's requests.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/watchdog.h"

struct worker_page {
    struct watch_record record; /* phase: "#" and the stream whose handler runs */
    _Atomic uint64_t claim;     /* low half: the last stream claimed; high half: whether revoked */
    _Atomic uint64_t memory;    /* bytes of its VMs */
};

enum {
    PAGE_LINK_FD = 3,
    PAGE_MEMORY_FD = 4,
    PAGE_GATE_FD = 5
}; /* descriptors of a worker process */

/* The worker's: false: `stream` was revoked, and its frames are to be ignored. */
static inline bool page_claim(struct worker_page *page, uint32_t stream)
{
    uint64_t old = atomic_load(&page->claim);

    do {
        if (old >> 32)
            return false;
    } while (!atomic_compare_exchange_weak(&page->claim, &old, stream));
    return true;
}

static inline void page_resume(struct worker_page *page)
{
    atomic_fetch_and(&page->claim, UINT32_MAX);
}

/* The server's: the last stream that was claimed; later ones will not be, until page_resume(). */
static inline uint32_t page_revoke(struct worker_page *page)
{
    return (uint32_t)atomic_fetch_or(&page->claim, (uint64_t)1 << 32);
}

static inline uint32_t page_claimed(const struct worker_page *page)
{
    return (uint32_t)atomic_load(&page->claim);
}
