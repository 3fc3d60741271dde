/* buntime check: what a reload would say, without running plugin code. */
#include <stdio.h>
#include <stdlib.h>

#include "app/command.h"
#include "app/dirs.h"
#include "app/server.h"
#include "base/log.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "worker/registry.h"

struct report {
    bool done;
    int code;
};

static void print_err(const char *path, const struct err *err)
{
    if (err && err->file[0])
        printf("%s\n", err->message);
    else if (err)
        printf("%s: %s\n", path, err->message);
}

static void checked(void *arg, const struct reload_result *result)
{
    struct report *report = arg;
    const struct app_set *set = result->apps ? result->apps->set : NULL;
    const size_t apps = set ? set->len : 0;

    report->done = true;
    report->code = result->ok ? 0 : 1;
    for (size_t i = 0; i < result->len; i++)
        print_err(result->items[i].path, result->items[i].err);
    for (size_t i = 0; i < apps; i++)
        print_err(set->entries[i].dir, set->entries[i].err);
    if (!result->ok)
        return;
    printf("%zu plugin%s", result->len, result->len == 1 ? "" : "s");
    if (apps > 0)
        printf(" and %zu app%s", apps, apps == 1 ? "" : "s");
    printf(" checked, all well\n");
}

int command_check(struct invocation *in)
{
    const struct reload_options options = {.dry_run = true};
    struct report report = {.done = false};
    static struct server server;
    struct err err;

    dirs_use(in->settings, in->words);
    if (!server_init(&server, in->settings, NULL, &err)) {
        log_err(NULL, NULL, &err);
        server_fini(&server);
        return 2;
    }
    plugins_reload(server.plugins, &options, checked, &report);
    while (!report.done && loop_turn(server.loop, 1000))
        continue;
    server_fini(&server);
    return report.code;
}
