/* Worker apps: folders, the registry, who answers where, and the environment of a process. */
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/path.h"
#include "conf/env_names.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "worker/app.h"
#include "worker/environ.h"
#include "worker/folders.h"
#include "worker/registry.h"
#include "worker/removal.h"

#include "check.h"

static char root[] = "/tmp/test_apps.XXXXXX";
static struct settings settings;

/* --- a directory of apps --- */

static void put(const char *path, const char *text)
{
    char full[PATH_MAX], *slash;
    FILE *file;

    snprintf(full, sizeof(full), "%s/%s", root, path);
    for (slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    file = fopen(full, "w");
    CHECK(file);
    fputs(text, file);
    fclose(file);
}

static void remove_all(const char *path)
{
    char *command = mem_printf("rm -rf %s/%s", root, path);

    CHECK(system(command) == 0);
    free(command);
}

static char **dirs(const char *first, const char *second)
{
    static char a[PATH_MAX], b[PATH_MAX], *list[3];

    snprintf(a, sizeof(a), "%s/%s", root, first);
    snprintf(b, sizeof(b), "%s/%s", root, second ? second : "");
    list[0] = a;
    list[1] = second ? b : NULL;
    list[2] = NULL;
    return list;
}

static const char lua[] = "return { fetch = function() return 'x' end }\n";

/* --- folders --- */

static void test_folders(void)
{
    struct app_folders found;
    struct buf out = {0};

    put("f/hello@1.0.0/index.lua", lua);
    put("f/hello/1.2.0/index.lua", lua);
    put("f/hello/2.0.0-rc.1/manifest.yaml", "entrypoint: main.lua\n");
    put("f/hello/notes/index.lua", lua);
    put("f/hello/index.html", "");
    put("f/plain/latest/index.lua", lua);
    put("f/page@latest/index.html", "");
    put("f/@acme/shop/index.lua", lua);
    put("f/@acme/shop@3.0.0/index.lua", lua);
    put("f/@acme/till/1.0.0/index.lua", lua);
    put("f/@acme/.hidden/index.lua", lua);
    put("f/.hidden/index.lua", lua);
    put("f/empty/readme.txt", "");
    put("f/file.lua", lua);
    put("f/bad@1/index.lua", lua);
    put("f/b d/index.lua", lua);
    app_folders_find(dirs("f", "nowhere"), &found);
    for (size_t i = 0; i < found.len; i++) {
        const struct app_folder *f = &found.items[i];
        buf_printf(&out, "%s %s %s%s\n", f->name, f->version ? f->version : "-",
                   f->dir + strlen(root) + 3, f->problem ? " !" : "");
        CHECK(f->named && !f->builtin);
    }
    CHECK_STR(out.data, "@acme/shop - @acme/shop\n"
                        "@acme/shop 3.0.0 @acme/shop@3.0.0\n"
                        "@acme/till 1.0.0 @acme/till/1.0.0\n"
                        "b d - b d !\n"
                        "bad 1 bad@1 !\n"
                        "hello - hello\n"
                        "hello 1.2.0 hello/1.2.0\n"
                        "hello 2.0.0-rc.1 hello/2.0.0-rc.1\n"
                        "hello 1.0.0 hello@1.0.0\n"
                        "page - page@latest\n"
                        "plain - plain/latest\n");
    CHECK(found.missing_len == 1 && strstr(found.missing[0], "nowhere: "));
    app_folders_fini(&found);
    buf_fini(&out);
}

static void test_folder_itself(void)
{
    struct app_folders found;

    put(".self/one/index.lua", lua);
    app_folders_find(dirs(".self/one", ".self"), &found);
    CHECK(found.len == 2);
    CHECK_STR(found.items[0].name, "one");
    CHECK(!found.items[0].named && !found.items[0].builtin);
    CHECK(found.items[1].named && found.items[1].builtin);
    app_folders_fini(&found);
}

/* --- the registry --- */

static const char *get_env(const struct env_source *source, const char *name)
{
    (void)source;
    return getenv(name);
}

static const struct env_source env = {get_env};
static struct buf told;

static void on_notice(void *app, enum log_level level, const char *name, const char *message)
{
    (void)app;
    CHECK(level == LOG_WARN);
    buf_printf(&told, "%s: %s\n", name ? name : "-", message);
}

static void on_retire(void *app, struct app *which)
{
    (void)app;
    buf_printf(&told, "retired %s %s\n", which->name, which->version ? which->version : "latest");
}

static struct registry *open_registry(const char *dir)
{
    const struct registry_options options = {
        .settings = &settings, .env = &env, .on_notice = on_notice, .on_retire = on_retire};

    settings.worker_dirs.items = dirs(dir, NULL);
    settings.worker_dirs.len = 1;
    buf_reset(&told);
    return registry_new(&options);
}

/* "name version status" a line, and an error's message behind it. */
static char *describe(const struct registry_scan *scan)
{
    struct buf out = {0};

    for (size_t i = 0; i < scan->set->len + scan->removed_len; i++) {
        const struct app_entry *e =
            i < scan->set->len ? &scan->set->entries[i] : &scan->removed[i - scan->set->len];
        buf_printf(&out, "%s %s %s", e->name, app_entry_version(e), app_status_name(e->status));
        if (e->err) {
            const char *at = e->err->message, *next;
            buf_printf(&out, " %s: ", e->err->code);
            for (; (next = strstr(at, root)); at = next + strlen(root) + 1)
                buf_add(&out, at, (size_t)(next - at));
            buf_puts(&out, at);
        }
        buf_putc(&out, '\n');
    }
    return out.data ? out.data : mem_copy("");
}

static void expect(struct registry *registry, bool ok, const char *want)
{
    struct registry_scan *scan = registry_scan(registry, NULL, NULL);
    char *got = describe(scan);

    CHECK_STR(got, want);
    CHECK(scan->ok == ok);
    registry_commit(registry, scan);
    registry_scan_free(scan);
    free(got);
}

/* Which folder answers, with how many bytes of the path; "-" for none. */
static void check_find(const struct registry *registry, const char *path, const char *want)
{
    size_t base = 0;
    const struct app *app = app_set_find(registry_set(registry), str_of(path), &base);
    char *got = app ? mem_printf("%s %zu", path_name(app->dir), base) : mem_copy("-");

    if (strcmp(got, want) != 0)
        fprintf(stderr, "at %s\n", path);
    CHECK_STR(got, want);
    free(got);
}

static void test_find(void)
{
    static const struct {
        const char *path, *want;
    } cases[] = {
        {"/hello/x", "hello@2.1.0 6"},
        {"/hello", "hello@2.1.0 6"},
        {"/hello@1/", "1.9.0 8"},
        {"/hello@1.0/x", "hello@1.0.0 10"},
        {"/hello@^1.0.0/x", "1.9.0 13"},
        {"/hello@%5E1.0.0/x", "1.9.0 15"},
        {"/hello@1.0.0/x", "hello@1.0.0 12"},
        {"/%68ello@1.0.0/x", "hello@1.0.0 14"},
        {"/hello@%3E=1%20%3C2/x", "1.9.0 19"},
        {"/hello@3.0.0-rc.1/x", "hello@3.0.0-rc.1 17"},
        {"/hello@>=3.0.0-rc.0/x", "hello@3.0.0-rc.1 19"},
        {"/hello@3/x", "-"},
        {"/hello@latest/x", "-"},
        {"/hello@nonsense/x", "-"},
        {"/hello@/x", "-"},
        {"/hell/x", "-"},
        {"/helloo/x", "-"},
        {"/", "-"},
        {"", "-"},
        {"/both/", "both 5"},
        {"/both@latest/", "both 12"},
        {"/both@2/", "both 7"},
        {"/both@1/", "both@1.0.0 7"},
        {"/both@4.0.0/", "-"},
        {"/pre/x", "-"},
        {"/pre@1.0.0-a/x", "pre@1.0.0-a 12"},
        {"/@acme/shop/x", "shop 11"},
        {"/%40acme/shop@latest", "shop 20"},
        {"/@acme/shop@1/x", "-"},
        {"/@acme%2Fshop/x", "-"},
        {"/@acme/", "-"},
        {"/@acme", "-"},
        {"/@/shop", "-"},
        {"/shop/", "-"},
        {"/off/", "-"},
        {"/hello%00/", "-"},
    };
    struct registry *registry;

    put("r/hello@1.0.0/index.lua", lua);
    put("r/hello/1.9.0/index.lua", lua);
    put("r/hello@2.1.0/index.lua", lua);
    put("r/hello@3.0.0-rc.1/index.lua", lua);
    put("r/both/index.lua", lua);
    put("r/both/manifest.yaml", "version: 2.0.0\n");
    put("r/both@1.0.0/index.lua", lua);
    put("r/pre@1.0.0-a/index.lua", lua);
    put("r/off/index.lua", lua);
    put("r/off/manifest.yaml", "name: off\nenabled: false\n");
    put("r/@acme/shop/index.lua", lua);
    registry = open_registry("r");
    expect(registry, true,
           "@acme/shop latest loaded\nboth latest loaded\nboth 1.0.0 loaded\n"
           "hello 1.9.0 loaded\nhello 1.0.0 loaded\nhello 2.1.0 loaded\n"
           "hello 3.0.0-rc.1 loaded\noff latest disabled\npre 1.0.0-a loaded\n");
    for (size_t i = 0; i < LEN(cases); i++)
        check_find(registry, cases[i].path, cases[i].want);
    registry_free(registry);
}

static void test_names(void)
{
    struct registry *registry;

    put("n/api/index.lua", lua);
    put("n/bad@1/index.lua", lua);
    put("n/loose/manifest.yaml", "name: tight\nversion: 1.0.0\n");
    put("n/loose/index.lua", lua);
    put("n/sure@1.0.0/manifest.yaml", "name: sure\nversion: 1.0.1\n");
    put("n/sure@1.0.0/index.lua", lua);
    put("n/nothing/manifest.yaml", "name: nothing\n");
    put("n/two/index.lua", lua);
    put("n/two@latest/index.lua", lua);
    registry = open_registry("n");
    expect(registry, false,
           "api latest failed INVALID: n/api: the name \"api\" is reserved\n"
           "bad 1 failed INVALID: n/bad@1: \"1\" is not a semantic version such as 1.0.0 or "
           "2.1.0-rc.1\n"
           "loose latest failed MANIFEST_INVALID: n/loose/manifest.yaml:1:7: name \"tight\" is not "
           "what the folder says: \"loose\"\n"
           "nothing latest failed MANIFEST_INVALID: n/nothing/manifest.yaml: no entry file: there "
           "is neither index.lua nor index.html, and no entrypoint\n"
           "sure 1.0.0 failed MANIFEST_INVALID: n/sure@1.0.0/manifest.yaml:2:10: version "
           "\"1.0.1\" is not what the folder says: \"1.0.0\"\n"
           "two latest loaded\n"
           "two latest failed DUPLICATE_APP: two apps are \"two\" latest: n/two is used, "
           "n/two@latest is not\n");
    registry_free(registry);
}

static void test_changes(void)
{
    struct registry *registry;
    const struct app *kept;
    struct app_set *before;

    put("c/a/index.lua", lua);
    put("c/b/index.lua", lua);
    put("c/d/index.lua", lua);
    put("c/e/manifest.yaml", "permissions: { env: [TEST_APPS_MODE] }\n");
    put("c/e/index.lua", lua);
    setenv("TEST_APPS_MODE", "one", 1);
    registry = open_registry("c");
    expect(registry, true, "a latest loaded\nb latest loaded\nd latest loaded\ne latest loaded\n");
    kept = registry_set(registry)->entries[0].app;
    before = app_set_ref(registry_set(registry));
    expect(registry, true,
           "a latest unchanged\nb latest unchanged\nd latest unchanged\ne latest unchanged\n");
    CHECK(registry_set(registry)->entries[0].app == kept);
    CHECK(told.len == 0);

    put("c/b/lib.lua", "return 1\n");
    put("c/d/manifest.yaml", "enabled: maybe\n");
    setenv("TEST_APPS_MODE", "two", 1);
    expect(registry, false,
           "a latest unchanged\nb latest loaded\nd latest kept_old MANIFEST_INVALID: "
           "c/d/manifest.yaml:1:10: enabled must be true or false, got the string \"maybe\"\n"
           "e latest loaded\n");
    CHECK_STR(told.data, "retired b latest\nretired e latest\n");
    CHECK(registry_set(registry)->entries[2].app == before->entries[2].app);
    CHECK(!registry_set(registry)->entries[2].told);

    buf_reset(&told);
    put("c/d/manifest.yaml", "enabled: false\n");
    remove_all("c/a");
    expect(registry, true,
           "b latest unchanged\nd latest disabled\ne latest unchanged\na latest removed\n");
    CHECK_STR(told.data, "retired a latest\nretired d latest\n");
    CHECK(before->entries[0].app == kept); /* whoever began with it still has it */
    app_set_unref(before);
    registry_free(registry);
}

static bool refuse_b(void *arg, const struct app *app, struct err *err)
{
    ++*(unsigned *)arg;
    return strcmp(app->name, "b") != 0 || err_at(err, "b.lua", 3, "unexpected symbol");
}

static void test_checked(void)
{
    unsigned calls = 0;
    struct registry *registry;
    struct registry_scan *scan;
    char *got;

    put("k/a/index.lua", lua);
    put("k/b/index.lua", lua);
    registry = open_registry("k");
    for (int i = 0; i < 2; i++) {
        scan = registry_scan(registry, refuse_b, &calls);
        got = describe(scan);
        CHECK_STR(got, i == 0 ? "a latest loaded\nb latest failed INVALID: b.lua:3: unexpected "
                                "symbol\n"
                              : "a latest unchanged\nb latest failed INVALID: b.lua:3: unexpected "
                                "symbol\n");
        CHECK(scan->set->entries[1].told == (i == 1));
        registry_commit(registry, scan);
        registry_scan_free(scan);
        free(got);
    }
    CHECK(calls == 3);
    registry_free(registry);
}

static void test_missing_is_told_once(void)
{
    struct registry *registry = open_registry("missing");

    expect(registry, true, "");
    CHECK(strstr(told.data, "worker directory ") && strstr(told.data, "/missing: "));
    buf_reset(&told);
    expect(registry, true, "");
    CHECK(told.len == 0);
    registry_free(registry);
}

/* --- removing --- */

static bool is_there(const char *path)
{
    char *full = mem_printf("%s/%s", root, path);
    const bool is = access(full, F_OK) == 0;

    free(full);
    return is;
}

static void remove_app(const struct registry *registry, const char *name, const char *version)
{
    struct app_removal removal;
    struct err err;

    CHECK(app_removal_plan(&removal, registry_set(registry), name, version, dirs("x", NULL)));
    CHECK(!removal.builtin);
    CHECK(app_removal_run(&removal, &err));
    app_removal_fini(&removal);
}

static void test_removal(void)
{
    struct app_removal removal;
    struct registry *registry;
    char *target, *link;

    put("x/a/index.lua", lua);
    put("x/a/lib/deep/er.lua", lua);
    put("x/a/1.0.0/index.lua", lua);
    put("x/@s/b/1.0.0/index.lua", lua);
    put("x/@s/b/2.0.0/index.lua", lua);
    put("outside/precious.txt", "x");
    put("linked/index.lua", lua);
    target = mem_printf("%s/outside", root);
    link = mem_printf("%s/x/a/link", root);
    CHECK(symlink(target, link) == 0);
    free(link);
    free(target);
    CHECK(symlink("../linked", (link = mem_printf("%s/x/c", root))) == 0);
    free(link);
    registry = open_registry("x");
    expect(registry, true,
           "@s/b 1.0.0 loaded\n@s/b 2.0.0 loaded\na latest loaded\na 1.0.0 loaded\n"
           "c latest loaded\n");
    CHECK(!app_removal_plan(&removal, registry_set(registry), "a", "3.0.0", dirs("x", NULL)));
    app_removal_fini(&removal);

    remove_app(registry, "@s/b", "1.0.0");
    CHECK(!is_there("x/@s/b/1.0.0") && is_there("x/@s/b/2.0.0/index.lua"));
    remove_app(registry, "@s/b", NULL); /* one of its folders is gone already */
    CHECK(!is_there("x/@s") && is_there("x"));
    remove_app(registry, "a", "latest"); /* around the version that lies in it */
    CHECK(!is_there("x/a/index.lua") && !is_there("x/a/lib") && is_there("x/a/1.0.0/index.lua"));
    CHECK(is_there("outside/precious.txt"));
    remove_app(registry, "a", NULL);
    CHECK(!is_there("x/a") && is_there("outside/precious.txt"));
    remove_app(registry, "c", NULL);
    CHECK(!is_there("x/c") && is_there("linked/index.lua") && is_there("x"));
    registry_free(registry);
}

/* --- the environment --- */

static void test_names_of_variables(void)
{
    static const char *const secrets[] = {
        "DATABASE_URL", "DB_HOST",        "MY_TOKEN",   "X_SECRET", "A_PASSWORD",
        "API_KEY",      "API_KEY_2",      "AWS_REGION", "TOKEN",    "GITHUB_X",
        "OPENAI_ORG",   "ANTHROPIC_BASE", "STRIPE_X",   "db_host",  "HELLO_API_KEY",
    };
    static const char *const own[] = {"APP_DIR",    "WORKER_ID",   "TMPDIR",    "ENTRYPOINT",
                                      "LD_PRELOAD", "LD_X",        "RUNTIME_X", "BUNTIME_LUA_DIR",
                                      "TZDIR",      "ASAN_OPTIONS"};
    static const char *const plain[] = {"HELLO", "DATABASE", "TOKENS", "HOME", "MY_APP_DIR"};

    for (size_t i = 0; i < LEN(secrets); i++)
        CHECK(env_name_is_secret(secrets[i]) && !env_name_is_reserved(secrets[i]));
    for (size_t i = 0; i < LEN(own); i++)
        CHECK(env_name_is_reserved(own[i]));
    for (size_t i = 0; i < LEN(plain); i++)
        CHECK(!env_name_is_secret(plain[i]) && !env_name_is_reserved(plain[i]));
}

static void test_environ(void)
{
    static const char *const names[] = {"TEST_OWN", "TEST_B", NULL};
    const struct environ_facts facts = {"w7", "http://127.0.0.1:8000/api", "/tmp/w7", &env, names};
    struct registry *registry;
    struct buf out = {0};
    char **list;

    put("e/hello/manifest.yaml",
        "env: { MODE: fast, COUNT: 3, RATIO: 0.1, ON: true, DB_URL: literal, WORKER_ID: evil,\n"
        "       LD_PRELOAD: evil }\n"
        "permissions: { env: [TEST_A, TEST_B, MODE, DB_PASSWORD, LD_LIBRARY_PATH, DB_URL] }\n");
    put("e/hello/index.lua", lua);
    setenv("TEST_A", "from the server", 1);
    setenv("MODE", "from the server", 1);
    setenv("DB_PASSWORD", "secret", 1);
    setenv("DB_URL", "secret", 1);
    setenv("TEST_OWN", "ours", 1);
    setenv("LD_LIBRARY_PATH", "/nowhere", 1);
    unsetenv("TEST_B");
    registry = open_registry("e");
    expect(registry, true, "hello latest loaded\n");
    CHECK(strstr(told.data, "env.WORKER_ID is the runtime's own"));
    CHECK(strstr(told.data, "env.LD_PRELOAD is the runtime's own"));
    CHECK(strstr(told.data, "permissions.env: DB_PASSWORD looks like a secret"));
    CHECK(strstr(told.data, "permissions.env: LD_LIBRARY_PATH is the runtime's own"));
    CHECK(!strstr(told.data, "DB_URL"));
    list = environ_make(registry_set(registry)->entries[0].app, &facts);
    for (char **item = list; *item; item++)
        buf_printf(&out, "%s\n", strncmp(*item, "APP_DIR=", 8) == 0 ? "APP_DIR" : *item);
    CHECK_STR(out.data, "APP_DIR\nENTRYPOINT=index.lua\nWORKER_ID=w7\n"
                        "RUNTIME_API_URL=http://127.0.0.1:8000/api\nTMPDIR=/tmp/w7\n"
                        "TEST_OWN=ours\nMODE=fast\nCOUNT=3\nRATIO=0.1\nON=true\nDB_URL=literal\n"
                        "TEST_A=from the server\n");
    CHECK(list[0][8] == '/');
    environ_free(list);
    environ_free(NULL);
    buf_fini(&out);
    registry_free(registry);
}

static void load_settings(void)
{
    char *flags[] = {NULL}, *rest[1];
    struct problems problems = {0};

    CHECK(settings_load(&settings, flags, rest, &problems));
    problems_fini(&problems);
}

int main(void)
{
    struct string_list own;

    CHECK(mkdtemp(root));
    load_settings();
    own = settings.worker_dirs;
    test_folders();
    test_folder_itself();
    test_find();
    test_names();
    test_changes();
    test_checked();
    test_missing_is_told_once();
    test_removal();
    test_names_of_variables();
    test_environ();
    settings.worker_dirs = own;
    settings_fini(&settings);
    buf_fini(&told);
    remove_all("");
    return 0;
}
