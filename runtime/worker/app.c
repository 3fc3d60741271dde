#include "worker/app.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/manifest.h"

struct app *app_new(const struct app *like)
{
    struct app *app = mem_alloc(sizeof(*app));

    *app = (struct app){
        .refs = 1,
        .name = mem_copy(like->name),
        .version = mem_copy(like->version),
        .dir = mem_copy(like->dir),
        .base = mem_copy(like->base),
        .builtin = like->builtin,
        .manifest = manifest_ref(like->manifest),
    };
    memcpy(app->digest, like->digest, sizeof(app->digest));
    return app;
}

struct app *app_ref(struct app *app)
{
    app->refs++;
    return app;
}

void app_unref(struct app *app)
{
    if (!app || --app->refs > 0)
        return;
    manifest_unref(app->manifest);
    free(app->name);
    free(app->version);
    free(app->dir);
    free(app->base);
    free(app);
}
