/* buntime new: writes a plugin to start from. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/command.h"
#include "base/mem.h"

struct template_file {
    const char *name;
    const char *text; /* {name}: the name as YAML; {short}: without its scope */
};

static const struct template_file persistent[] = {
    {"manifest.yaml", "name: {name}\nversion: 0.1.0\nbase: /{short}\n"},
    {"plugin.lua", "local Router = require(\"buntime.router\")\n"
                   "\n"
                   "return function(config)\n"
                   "  local routes = Router.new()\n"
                   "\n"
                   "  routes:get(\"/api/greeting\", function(c)\n"
                   "    return c:json({ message = \"Hello from {short}\" })\n"
                   "  end)\n"
                   "\n"
                   "  return {\n"
                   "    routes = routes,\n"
                   "    onInit = function(ctx)\n"
                   "      ctx.logger.info(\"{short} initialized\", { base = config.base })\n"
                   "    end,\n"
                   "    onShutdown = function() end,\n"
                   "  }\n"
                   "end\n"},
    {"plugin_spec.lua", "local plugin = require(\"plugin\")\n"
                        "\n"
                        "describe(\"{short}\", function()\n"
                        "  it(\"greets\", function()\n"
                        "    local res = plugin({}).routes:request(\"/api/greeting\")\n"
                        "\n"
                        "    assert.equal(200, res.status)\n"
                        "    assert.equal(\"Hello from {short}\", res:json().message)\n"
                        "  end)\n"
                        "end)\n"},
    {NULL, NULL},
};

static int complain(const char *what, const char *path)
{
    fprintf(stderr, "buntime new: %s %s: %s\n", what, path, strerror(errno));
    return 1;
}

/* "@acme/shop" → "shop" */
static const char *short_name(const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash ? slash + 1 : name;
}

static const struct template_file spa[] = {
    {"manifest.yaml", "name: {name}\nversion: 0.1.0\nbase: /{short}\nentrypoint: index.html\n"},
    {"index.html", "<!doctype html>\n"
                   "<html lang=\"en\">\n"
                   "  <head>\n"
                   "    <meta charset=\"utf-8\">\n"
                   "    <title>{short}</title>\n"
                   "  </head>\n"
                   "  <body>\n"
                   "    <h1>{short}</h1>\n"
                   "  </body>\n"
                   "</html>\n"},
    {NULL, NULL},
};

static const struct template_file serverless[] = {
    {"manifest.yaml", "name: {name}\nversion: 0.1.0\nbase: /{short}\nentrypoint: index.lua\n"},
    {"index.lua", "local Router = require(\"buntime.router\")\n"
                  "\n"
                  "local routes = Router.new()\n"
                  "\n"
                  "routes:get(\"/api/greeting\", function(c)\n"
                  "  return c:json({ message = \"Hello from {short}\" })\n"
                  "end)\n"
                  "\n"
                  "return routes\n"},
    {"index_spec.lua", "local routes = require(\"index\")\n"
                       "\n"
                       "describe(\"{short}\", function()\n"
                       "  it(\"greets\", function()\n"
                       "    local res = routes:request(\"/api/greeting\")\n"
                       "\n"
                       "    assert.equal(200, res.status)\n"
                       "    assert.equal(\"Hello from {short}\", res:json().message)\n"
                       "  end)\n"
                       "end)\n"},
    {NULL, NULL},
};

static const struct {
    const char *name;
    const struct template_file *files;
} modes[] = {{"persistent", persistent}, {"serverless", serverless}, {"spa", spa}};

static const struct template_file *files_of(const char *mode)
{
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (!mode || strcmp(modes[i].name, mode) == 0)
            return modes[i].files;
    }
    return NULL;
}

/* What the manifest would be refused for. */
static const char *const reserved_names[] = {"loaded", "reload", "upload", NULL};
static const char *const reserved_bases[] = {"api", "health", NULL};

static bool is_one_of(const char *text, const char *const *list)
{
    for (; *list; list++) {
        if (strcmp(*list, text) == 0)
            return true;
    }
    return false;
}

static bool is_part(const char *text, size_t len)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return len > 0 && text[0] != '.' && strspn(text, allowed) >= len;
}

static bool is_name(const char *name)
{
    const char *slash = strchr(name, '/');

    if (name[0] != '@')
        return is_part(name, strlen(name));
    return slash && is_part(name + 1, (size_t)(slash - name) - 1) &&
           is_part(slash + 1, strlen(slash + 1));
}

/* The last external plugin directory is where one's own plugins go. */
static const char *target_dir(const struct settings *settings)
{
    for (size_t i = 0; i < settings->plugin_dirs.len; i++) {
        if (!plugin_dir_is_builtin(settings->plugin_dirs.items[i]))
            return settings->plugin_dirs.items[i];
    }
    return NULL;
}

/* A base holds no dots, a name may. */
static char *base_of(const char *name)
{
    char *base = mem_copy(short_name(name));

    for (char *c = base; *c; c++) {
        if (*c == '.')
            *c = '-';
    }
    return base;
}

static void fill(FILE *out, const char *text, const char *name, const char *shortened)
{
    while (*text) {
        const bool named = strncmp(text, "{name}", 6) == 0;
        const bool short_one = strncmp(text, "{short}", 7) == 0;

        if (named || short_one)
            fputs(named ? name : shortened, out);
        else
            fputc(*text, out);
        text += named ? 6 : short_one ? 7 : 1;
    }
}

static int write_file(const char *dir, const struct template_file *file, const char *name)
{
    char *path = mem_printf("%s/%s", dir, file->name);
    char *quoted = mem_printf("\"%s\"", name);
    char *base = base_of(name);
    FILE *out = fopen(path, "wxe");
    int code = 0;

    if (!out)
        code = complain("cannot write", path);
    else
        fill(out, file->text, quoted, base);
    if (out && fclose(out) != 0)
        code = complain("cannot write", path);
    free(path);
    free(quoted);
    free(base);
    return code;
}

/* Makes the folder and, for @scope/name, the one above it. */
static int make_folder(const char *root, const char *name, char **dir)
{
    const char *slash = strchr(name, '/');

    *dir = mem_printf("%s/%s", root, name);
    if (mkdir(root, 0777) != 0 && errno != EEXIST)
        return complain("cannot make", root);
    if (slash) {
        char *scope = mem_printf("%s/%.*s", root, (int)(slash - name), name);
        const bool made = mkdir(scope, 0777) == 0 || errno == EEXIST;
        const int code = made ? 0 : complain("cannot make", scope);
        free(scope);
        if (code)
            return code;
    }
    return mkdir(*dir, 0777) == 0 ? 0 : complain("cannot make", *dir);
}

static int create(const char *root, const char *name, const struct template_file *file)
{
    char *dir = NULL;
    int code = make_folder(root, name, &dir);

    for (; !code && file->name; file++)
        code = write_file(dir, file, name);
    if (!code)
        printf("%s written; try:\n  buntime check %s\n"
               "  curl -X POST localhost:8000/api/plugins/reload\n",
               dir, dir);
    free(dir);
    return code;
}

int command_new(struct invocation *in)
{
    const char *root = target_dir(in->settings);
    const struct template_file *files = files_of(in->mode);

    if (in->count != 1) {
        fprintf(stderr, "usage: buntime new NAME [--mode persistent|serverless|spa]\n");
        return 2;
    }
    if (!files) {
        fprintf(stderr, "buntime new: mode \"%s\" is none of persistent, serverless, spa\n",
                in->mode);
        return 2;
    }
    if (!is_name(in->words[0])) {
        fprintf(stderr,
                "buntime new: \"%s\" is not a name: (@scope/)name of letters, digits, . _ -\n",
                in->words[0]);
        return 2;
    }
    if (is_one_of(in->words[0], reserved_names) ||
        is_one_of(short_name(in->words[0]), reserved_bases)) {
        fprintf(stderr, "buntime new: \"%s\" is reserved\n", in->words[0]);
        return 2;
    }
    if (!root) {
        fprintf(stderr, "buntime new: RUNTIME_PLUGIN_DIRS names no external directory\n");
        return 1;
    }
    return create(root, in->words[0], files);
}
