/* What the server process leaves for its supervisor to read: memory that both share, so that it is
 * still there when the process has crashed or hangs.
 *
 * The supervisor makes it and forks; the server process writes its state, a heartbeat and what
 * runs (vm/watchdog.h). The quarantine goes the other way and outlives the server processes.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/digest.h"
#include "vm/watchdog.h"

enum { BOX_NAME_MAX = 128, BOX_PLUGINS = 4096, BOX_QUARANTINE = 64 };

enum box_state {
    BOX_STARTING,
    BOX_UP,           /* it listens */
    BOX_START_FAILED, /* and has said why */
    BOX_STOPPING,
    BOX_STOPPED, /* all was shut down */
};

struct box_plugin {
    char name[BOX_NAME_MAX];
    char digest[DIGEST_TEXT];
};

struct blackbox {
    _Atomic int state;      /* enum box_state */
    _Atomic uint64_t beats; /* goes up while the loop turns */
    struct watch_record record;
    uint32_t plugin_count; /* marks are 1 … plugin_count */
    struct box_plugin plugins[BOX_PLUGINS];
    uint32_t quarantine_count;
    struct box_plugin quarantine[BOX_QUARANTINE];
};

struct blackbox *blackbox_new(struct err *err);
void blackbox_free(struct blackbox *box);

/* For a new server process; the quarantine stays. */
void blackbox_reset(struct blackbox *box);

/* The mark under which what runs is shown: one for each name, with the digest given last.
 * 0, which means nobody, when there are too many.
 */
uint32_t blackbox_mark(struct blackbox *box, const char *name, const char *digest);
/* Copies who has the mark; false for nobody. */
bool blackbox_plugin(const struct blackbox *box, uint32_t mark, struct box_plugin *plugin);

/* The newest of one name counts, and of all the oldest makes room. */
void blackbox_quarantine(struct blackbox *box, const struct box_plugin *plugin);
bool blackbox_quarantined(const struct blackbox *box, const char *name, const char *digest);
