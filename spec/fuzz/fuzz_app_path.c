/* The path of a request as an app's: nothing is read outside of it, what is found has that name,
 * and the base is the beginning of the path, up to a slash or its end.
 */
#include "fuzz.h"

#include "base/mem.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "worker/app.h"
#include "worker/app_set.h"

static struct app_set *make_set(void)
{
    static const struct {
        const char *name, *version;
    } apps[] = {{"hello", NULL},         {"hello", "1.0.0"},    {"hello", "1.2.0"},
                {"hello", "3.0.0-rc.1"}, {"@acme/shop", NULL},  {"@acme/shop", "1.0.0"},
                {"pre", "1.0.0-a"},      {"build", "1.0.0+b.c"}};
    const size_t len = sizeof(apps) / sizeof(apps[0]);
    struct app_entry *entries = mem_alloc(len * sizeof(*entries));
    struct settings settings = {.api_prefix = (char *)""};
    struct problems problems = {0};

    for (size_t i = 0; i < len; i++) {
        const struct app_place place = {"/nowhere", apps[i].name, apps[i].version, true};
        struct manifest *manifest = manifest_read_app(&place, &settings, &problems);
        const struct app like = {.name = (char *)apps[i].name,
                                 .version = (char *)apps[i].version,
                                 .dir = (char *)"/nowhere",
                                 .manifest = manifest};
        entries[i] = (struct app_entry){.name = mem_copy(apps[i].name),
                                        .version = mem_copy(apps[i].version),
                                        .dir = mem_copy("/nowhere"),
                                        .app = app_new(&like)};
        manifest_unref(manifest);
    }
    problems_fini(&problems);
    return app_set_new(entries, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct app_set *set;
    char *path = malloc(size ? size : 1); /* no longer than the text: ASan sees an overrun */
    size_t base = 0;
    const struct app *app;

    require(path != NULL);
    if (size)
        memcpy(path, data, size);
    if (!set)
        set = make_set();
    app = app_set_find(set, (struct str){path, size}, &base);
    if (app) {
        require(base > 1 && base <= size);
        require(base == size || path[base] == '/');
        require((app->name[0] == '@') == (memchr(path + 1, '/', base - 1) != NULL));
    }
    free(path);
    return 0;
}
