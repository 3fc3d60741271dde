#include "app/dirs.h"

#include <stdlib.h>

#include "base/mem.h"

void dirs_use(struct settings *settings, char *const *words)
{
    struct string_list *dirs = &settings->plugin_dirs;
    size_t len = 0;

    while (words[len])
        len++;
    if (len == 0)
        return;
    for (size_t i = 0; i < dirs->len; i++)
        free(dirs->items[i]);
    dirs->items = mem_resize(dirs->items, (len + 1) * sizeof(*dirs->items));
    for (size_t i = 0; i < len; i++)
        dirs->items[i] = mem_copy(words[i]);
    dirs->items[len] = NULL;
    dirs->len = len;
}
