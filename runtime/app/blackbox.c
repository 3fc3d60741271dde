#include "app/blackbox.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct blackbox *blackbox_new(struct err *err)
{
    struct blackbox *box =
        mmap(NULL, sizeof(*box), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (box != MAP_FAILED)
        return box;
    err_set(err, "NO_MEMORY", "cannot share memory with the server process: %s", strerror(errno));
    return NULL;
}

void blackbox_free(struct blackbox *box)
{
    if (box)
        munmap(box, sizeof(*box));
}

void blackbox_reset(struct blackbox *box)
{
    atomic_store(&box->state, BOX_STARTING);
    atomic_store(&box->beats, 0);
    memset(&box->record, 0, sizeof(box->record));
    box->plugin_count = 0;
}

static bool set(struct box_plugin *plugin, const char *name, const char *digest)
{
    const size_t len = strlen(name);

    if (len >= sizeof(plugin->name))
        return false;
    memcpy(plugin->name, name, len + 1);
    memcpy(plugin->digest, digest, sizeof(plugin->digest));
    return true;
}

uint32_t blackbox_mark(struct blackbox *box, const char *name, const char *digest)
{
    uint32_t i = 0;

    while (i < box->plugin_count && strcmp(box->plugins[i].name, name) != 0)
        i++;
    if (i == BOX_PLUGINS || !set(&box->plugins[i], name, digest))
        return 0;
    if (i == box->plugin_count)
        box->plugin_count++;
    return i + 1;
}

/* The server process may have written anything here before it crashed. */
bool blackbox_plugin(const struct blackbox *box, uint32_t mark, struct box_plugin *plugin)
{
    if (mark == 0 || mark > BOX_PLUGINS || mark > box->plugin_count)
        return false;
    *plugin = box->plugins[mark - 1];
    plugin->name[sizeof(plugin->name) - 1] = '\0';
    plugin->digest[sizeof(plugin->digest) - 1] = '\0';
    return *plugin->name != '\0';
}

void blackbox_quarantine(struct blackbox *box, const struct box_plugin *plugin)
{
    uint32_t i = 0;

    while (i < box->quarantine_count && strcmp(box->quarantine[i].name, plugin->name) != 0)
        i++;
    if (i == BOX_QUARANTINE) {
        memmove(&box->quarantine[0], &box->quarantine[1], (BOX_QUARANTINE - 1) * sizeof(*plugin));
        i--;
    } else if (i == box->quarantine_count) {
        box->quarantine_count++;
    }
    box->quarantine[i] = *plugin;
}

bool blackbox_quarantined(const struct blackbox *box, const char *name, const char *digest)
{
    for (uint32_t i = 0; i < box->quarantine_count; i++) {
        if (strcmp(box->quarantine[i].name, name) == 0)
            return strcmp(box->quarantine[i].digest, digest) == 0;
    }
    return false;
}
