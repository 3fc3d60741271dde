#include "conf/manifest.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/path.h"
#include "conf/settings.h"

#include "check.h"

#define FIXTURES "spec/fixtures/manifests"

static struct settings settings;

/* Every problem on a line of its own; warnings are marked. */
static void describe(const struct problems *problems, struct buf *out)
{
    for (size_t i = 0; i < problems->len; i++) {
        char *text = problem_text(&problems->items[i]);
        buf_printf(out, "%s%s\n", problems->items[i].warning ? "warning: " : "", text);
        free(text);
    }
}

static void check_fixture(const char *name, unsigned *bad)
{
    struct problems problems = {0};
    struct buf got = {0}, want = {0};
    struct err err;
    char dir[512], expected[600];
    struct manifest *manifest;

    snprintf(dir, sizeof(dir), FIXTURES "/%s", name);
    snprintf(expected, sizeof(expected), "%s/expected.txt", dir);
    manifest = manifest_read(dir, &settings, &problems);
    describe(&problems, &got);
    if (getenv("PRINT_PROBLEMS"))
        printf("== %s\n%s", name, got.data ? got.data : "");
    if (!file_read(expected, 100000, &want, &err)) {
        fprintf(stderr, "%s\n", err.message);
        ++*bad;
    } else if (!str_equal(buf_str(&got), buf_str(&want))) {
        fprintf(stderr, "%s\n--- got\n%s--- want\n%s", name, got.data ? got.data : "",
                want.data ? want.data : "");
        ++*bad;
    }
    manifest_unref(manifest);
    problems_fini(&problems);
    buf_fini(&got);
    buf_fini(&want);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static size_t test_fixtures(void)
{
    struct dirent **entries;
    const int count = scandir(FIXTURES, &entries, is_visible, alphasort);
    unsigned bad = 0;

    CHECK(count > 90);
    for (int i = 0; i < count; i++) {
        check_fixture(entries[i]->d_name, &bad);
        free(entries[i]);
    }
    free(entries);
    CHECK(bad == 0);
    return (size_t)count;
}

static void test_everything_is_read(void)
{
    struct problems problems = {0};
    struct manifest *m = manifest_read("./" FIXTURES "/good_full", &settings, &problems);

    CHECK(m && problems.len == 0);
    CHECK_STR(m->dir, FIXTURES "/good_full");
    CHECK_STR(m->file, FIXTURES "/good_full/manifest.yaml");
    CHECK_STR(m->name, "@buntime/plugin-hello");
    CHECK_STR(m->version, "1.0.0");
    CHECK_STR(m->base, "/hello");
    CHECK(m->enabled && !m->critical && !m->jit && !m->entrypoint_is_html);
    CHECK_STR(m->entry, "plugin.lua");
    CHECK_STR(m->entrypoint, "index.lua");
    CHECK_STR(m->dependencies[0], "@buntime/plugin-db");
    CHECK(!m->dependencies[1]);
    CHECK_STR(m->optional_dependencies[0], "@buntime/plugin-keyval");
    CHECK(m->public_route_count == 2);
    CHECK_STR(m->public_routes[0].method, "");
    CHECK_STR(m->public_routes[0].pattern, "/health");
    CHECK_STR(m->public_routes[1].method, "GET");
    CHECK(m->menu_count == 1 && m->menus[0].item_count == 1);
    CHECK_STR(m->menus[0].icon, "lucide:hand");
    CHECK_STR(m->menus[0].items[0].title, "More");
    CHECK(!m->menus[0].items[0].icon);
    CHECK(m->memory == 64 * 1024 * 1024 && m->max_body_size == 20 * 1024 * 1024);
    CHECK(m->config->map.len == 3);
    CHECK_STR(value_get(m->root, "greeting")->string.at, "Hello");
    CHECK(value_get(m->root, "greeting")->line == 23);

    CHECK(manifest_is_metadata("publicRoutes") && manifest_is_metadata("ttl"));
    CHECK(!manifest_is_metadata("greeting"));
    CHECK(manifest_ref(m) == m);
    manifest_unref(m);
    CHECK_STR(m->name, "@buntime/plugin-hello");
    manifest_unref(m);
    problems_fini(&problems);
}

static void test_minimal_defaults(void)
{
    struct problems problems = {0};
    struct manifest *m = manifest_read(FIXTURES "/good_minimal", &settings, &problems);

    CHECK(m && problems.len == 0);
    CHECK(m->enabled && !m->base && !m->version && !m->config && !m->entrypoint);
    CHECK_STR(m->entry, "plugin.lua");
    CHECK(m->dependencies && !m->dependencies[0] && m->memory == 0);
    manifest_unref(m);
}

/* Broken manifests that can be shown are returned. */
static void test_shown_though_broken(void)
{
    struct problems problems = {0};
    struct manifest *m = manifest_read(FIXTURES "/base_reserved", &settings, &problems);
    struct err err;

    CHECK(m && problems.errors == 1);
    CHECK_STR(m->name, "@buntime/hello");
    CHECK_STR(m->base, "/api");
    CHECK(!problems_err(&problems, &err));
    CHECK_STR(err.code, "MANIFEST_INVALID");
    CHECK_STR(err.file, FIXTURES "/base_reserved/manifest.yaml");
    CHECK(err.line == 3);
    CHECK_STR(err.message, FIXTURES "/base_reserved/manifest.yaml:3:7: base \"/api\" is reserved "
                                    "(reserved: /api, /health, /.well-known)");
    manifest_unref(m);
    CHECK(!manifest_read(FIXTURES "/yaml_syntax", &settings, &problems));
    CHECK(!manifest_read(FIXTURES "/name_missing", &settings, &problems));
    problems_fini(&problems);
}

static void test_problems_err(void)
{
    struct problems problems = {0};
    struct err err = {.message = "untouched"};

    problems_add(&problems, true, "W", "f", 1, 1, "only a warning");
    CHECK(problems_err(&problems, &err));
    CHECK_STR(err.message, "untouched");
    problems_add(&problems, false, "A", "f", 2, 0, "one");
    problems_add(&problems, false, "B", NULL, 0, 0, "two");
    CHECK(!problems_err(&problems, &err));
    CHECK_STR(err.message, "f:2: one\ntwo");
    CHECK_STR(err.code, "A");
    problems_fini(&problems);
}

static void test_prefix_is_reserved(void)
{
    struct settings prefixed = settings;
    struct problems problems = {0};
    char dir[] = "/tmp/test_manifest_XXXXXX", path[64], *text;
    struct manifest *m;
    FILE *file;

    prefixed.api_prefix = (char *)"/_";
    CHECK(mkdtemp(dir));
    CHECK(chdir(dir) == 0);
    file = fopen("manifest.yml", "w");
    fputs("name: hello\nbase: /_\n", file);
    fclose(file);
    fclose(fopen("plugin.lua", "w"));
    CHECK(manifest_exists(".") && !manifest_exists("/"));

    m = manifest_read(".", &prefixed, &problems);
    CHECK(problems.len == 1);
    text = problem_text(&problems.items[0]);
    CHECK_STR(text, "manifest.yml:2:7: base \"/_\" is reserved (reserved: /api, /health, "
                    "/.well-known, /_)");
    free(text);
    manifest_unref(m);
    problems_fini(&problems);
    m = manifest_read(".", &settings, &problems);
    CHECK(problems.len == 0);
    manifest_unref(m);
    snprintf(path, sizeof(path), "rm -r %s", dir);
    CHECK(system(path) == 0);
}

/* Runs `prepare` in an empty folder "p" and compares what its manifest is told. */
static void check_made(const char *prepare, const char *want)
{
    char dir[] = "/tmp/test_manifest_XXXXXX", command[64];
    struct problems problems = {0};
    struct buf got = {0};

    CHECK(mkdtemp(dir));
    CHECK(chdir(dir) == 0);
    CHECK(mkdir("p", 0700) == 0);
    CHECK(system(prepare) == 0);
    manifest_unref(manifest_read("p", &settings, &problems));
    describe(&problems, &got);
    CHECK_STR(got.data ? got.data : "", want);
    buf_fini(&got);
    problems_fini(&problems);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    CHECK(system(command) == 0);
}

static const struct {
    const char *prepare, *want;
} made[] = {
    {"true", "p: no manifest.yaml\n"},
    {"echo name: a >p/manifest.yaml; touch p/plugin.lua", ""},
    {"echo name: a >p/manifest.yml; touch p/plugin.lua", ""},
    {"echo name: a >p/manifest.yaml; echo 1 >p/manifest.yml; touch p/plugin.lua", ""},
    {"touch outside.lua; ln -s ../outside.lua p/x.lua; printf 'name: a\\npluginEntry: x.lua\\n' "
     ">p/manifest.yaml",
     "p/manifest.yaml:2:14: pluginEntry \"x.lua\" leaves the plugin's folder by a symbolic link\n"},
    {"mkdir q; touch q/x.html; ln -s ../q p/q; printf 'name: a\\nentrypoint: q/x.html\\n' "
     ">p/manifest.yaml",
     "p/manifest.yaml:2:13: entrypoint \"q/x.html\" leaves the plugin's folder by a symbolic "
     "link\n"},
    {"touch outside.lua; ln -s ../outside.lua p/plugin.lua; echo name: a >p/manifest.yaml",
     "p/manifest.yaml: plugin.lua leaves the plugin's folder by a symbolic link\n"},
    {"touch p/real.lua; ln -s real.lua p/plugin.lua; echo name: a >p/manifest.yaml", ""},
    {"mv p q; ln -s q p; echo name: a >q/manifest.yaml; touch q/plugin.lua", ""},
    {"echo name: a >outside.yaml; ln -s ../outside.yaml p/manifest.yaml; touch p/plugin.lua",
     "p/manifest.yaml: leaves the plugin's folder by a symbolic link\n"},
    {"ln -s nowhere p/manifest.yaml", "p/manifest.yaml: No such file or directory\n"},
    {"touch p/plugin.lua; (echo name: a; head -c 1048577 /dev/zero | tr '\\0' '#') "
     ">p/manifest.yaml",
     "p/manifest.yaml: larger than 1 MiB\n"},
    {"touch p/plugin.lua; (echo name: a; head -c 1048568 /dev/zero | tr '\\0' '#') "
     ">p/manifest.yaml",
     ""},
    {"touch p/plugin.lua; printf '\\357\\273\\277name: a\\r\\nversion: 1.0.0\\r\\n' "
     ">p/manifest.yaml",
     ""},
};

int main(void)
{
    struct problems problems = {0};
    char *const no_flags[] = {NULL};
    size_t fixtures;

    CHECK(settings_load(&settings, no_flags, NULL, &problems));
    fixtures = test_fixtures();
    test_everything_is_read();
    test_minimal_defaults();
    test_shown_though_broken();
    test_problems_err();
    test_prefix_is_reserved();
    for (size_t i = 0; i < LEN(made); i++)
        check_made(made[i].prepare, made[i].want);
    settings_fini(&settings);
    printf("ok %zu fixtures\n", fixtures);
    return 0;
}
