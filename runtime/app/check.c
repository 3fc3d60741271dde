/* buntime check: what a reload would say, without running plugin code. */
#include <stdio.h>
#include <stdlib.h>

#include "app/command.h"
#include "app/dirs.h"
#include "app/server.h"
#include "base/log.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"

struct report {
    bool done;
    int code;
};

static void checked(void *arg, const struct reload_result *result)
{
    struct report *report = arg;

    report->done = true;
    report->code = result->ok ? 0 : 1;
    for (size_t i = 0; i < result->len; i++) {
        const struct reload_item *item = &result->items[i];
        if (item->err && item->err->file[0])
            printf("%s\n", item->err->message);
        else if (item->err)
            printf("%s: %s\n", item->path, item->err->message);
    }
    if (result->ok)
        printf("%zu plugin%s checked, all well\n", result->len, result->len == 1 ? "" : "s");
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
