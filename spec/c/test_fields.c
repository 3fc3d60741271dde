#include "conf/fields.h"

#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "conf/settings.h"

#include "check.h"

/* A manifest, "NAME=value" lines of environment, and what comes of it: the configuration as
 * JSON-like text, or the problems.
 */
struct sample {
    const char *title, *manifest, *env, *want;
};

#define HEAD "name: a\n"

static const struct sample samples[] = {
    {"no block", HEAD "base: /a\ngreeting: hi\nttl: 5\n", "", "{greeting:\"hi\",base:\"/a\"}"},
    {"no base", HEAD "x: [1, {y: true}]\n", "", "{x:[1,{y:true}]}"},
    {"default",
     HEAD "config:\n  s: { type: string, default: d }\n  n: { type: number, "
          "default: 3 }\n",
     "", "{s:\"d\",n:3}"},
    {"manifest over default", HEAD "config:\n  s: { type: string, default: d, env: S }\ns: m\n", "",
     "{s:\"m\"}"},
    {"environment over manifest", HEAD "config:\n  s: { type: string, default: d, env: S }\ns: m\n",
     "S=e", "{s:\"e\"}"},
    {"an empty variable is unset", HEAD "config:\n  s: { type: string, env: S }\ns: m\n",
     "S=", "{s:\"m\"}"},
    {"unset is absent", HEAD "config:\n  s: { type: string, env: S }\n", "", "{}"},
    {"a password is required and set",
     HEAD "config:\n  p: { type: password, env: P, required: true }\n", "P=geheim",
     "{p:\"geheim\"}"},
    {"conversion",
     HEAD "config:\n  n: { type: number, env: N }\n  b: { type: boolean, env: B }\n"
          "  c: { type: boolean, env: C }\n  a: { type: array, env: A }\n"
          "  e: { type: enum, options: [1, two, true], env: E }\n",
     "N=-1.5e2\nB=true\nC=false\nA=x::y z:1\nE=1",
     "{n:-150,b:true,c:false,a:[\"x\",\"y z\",\"1\"],e:1}"},
    {"an enum of the manifest",
     HEAD "config:\n  e: { type: enum, options: [low, high] }\ne: high\n", "", "{e:\"high\"}"},
    {"objects",
     HEAD "config:\n  db:\n    type: object\n    default: { port: 1, user: u }\n   "
          " properties:\n"
          "      host: { type: string, env: H, required: true }\n"
          "      port: { type: number, default: 5432 }\n"
          "      user: { type: string }\n"
          "      pool: { type: object, properties: { max: { type: number, default: "
          "3 } } }\n"
          "db: { user: me, extra: 1 }\n",
     "H=h", "{db:{host:\"h\",port:1,user:\"me\",pool:{max:3},extra:1}}"},
    {"an object is always there",
     HEAD "config:\n  db: { type: object, properties: { host: { type: string } } }\n", "",
     "{db:{}}"},
    {"a worker's key that is the plugin's own",
     HEAD "config:\n  ttl: { type: number, default: 5 }\nttl: 7\n", "", "{ttl:7}"},
    {"characters are counted, not bytes",
     HEAD "config:\n  s: { type: string, max: 2 }\ns: \xC3\xA9\xC3\xA9\n", "",
     "{s:\"\xC3\xA9\xC3\xA9\"}"},

    {"missing, everywhere at once",
     HEAD "config:\n"
          "  a: { type: string, required: true }\n"
          "  b: { type: number, min: 1, max: 9, env: B, required: true }\n"
          "  c: { type: object, properties: {\n"
          "    d: { type: boolean, env: D, required: true } } }\n",
     "",
     "3:3: a is required and not set; set a in the manifest to a string\n"
     "4:3: b is required and not set; set the environment variable B or b in the manifest to a "
     "number from 1 to 9\n"
     "6:5: c.d is required and not set; set the environment variable D or c.d in the manifest to "
     "true or false\n"},
    {"bad values of the environment",
     HEAD "config:\n"
          "  n: { type: number, env: N }\n"
          "  m: { type: number, min: 1, env: M }\n"
          "  b: { type: boolean, env: B }\n"
          "  e: { type: enum, options: [a, 2], env: E }\n"
          "  s: { type: string, max: 3, env: S }\n"
          "  a: { type: array, min: 2, env: A }\n"
          "  p: { type: password, min: 8, env: P }\n"
          "n: 1\n",
     "N=1x\nM=0\nB=yes\nE=c\nS=long\nA=one\nP=hidden1",
     "3:3: n: the environment variable N must be a number, got \"1x\"\n"
     "4:3: m: the environment variable M must be a number at least 1, got \"0\"\n"
     "5:3: b: the environment variable B must be true or false, got \"yes\"\n"
     "6:3: e: the environment variable E must be one of \"a\", 2, got \"c\"\n"
     "7:3: s: the environment variable S must be a string of at most 3 characters, got \"long\"\n"
     "8:3: a: the environment variable A must be a list of at least 2 items, got \"one\"\n"
     "9:3: p: the environment variable P must be a string of at least 8 characters\n"},
    {"bad values of the manifest",
     HEAD "config:\n"
          "  n: { type: number, max: 5 }\n"
          "  b: { type: boolean }\n"
          "  p: { type: password, min: 8 }\n"
          "  o: { type: object, properties: { x: { type: string } } }\n"
          "  q: { type: object, properties: { x: { type: string } } }\n"
          "n: 6\nb: \"true\"\np: hidden1\no: 5\nq: { x: [1] }\n",
     "",
     "8:4: n: the value in the manifest must be a number at most 5, got 6\n"
     "9:4: b: the value in the manifest must be true or false, got \"true\"\n"
     "10:4: p: the value in the manifest must be a string of at least 8 characters\n"
     "11:4: o: the value in the manifest must be a map, got 5\n"
     "12:9: q.x: the value in the manifest must be a string, got a list\n"},
};

struct lines {
    struct env_source source;
    const char *text;
};

static const char *get(const struct env_source *source, const char *name)
{
    static char value[256];
    const struct lines *env = (const struct lines *)source;
    const size_t len = strlen(name);

    for (const char *at = env->text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + len + 1, "\n"), at + len + 1);
            return value;
        }
    }
    return NULL;
}

static void dump(const struct value *value, struct buf *out)
{
    const bool map = value->type == VALUE_MAP;

    if (value->type == VALUE_STRING) {
        buf_json_string(out, value->string);
    } else if (value->type == VALUE_NUMBER) {
        buf_printf(out, "%g", value->number);
    } else if (value->type == VALUE_BOOL) {
        buf_puts(out, value->boolean ? "true" : "false");
    } else {
        buf_putc(out, map ? '{' : '[');
        for (size_t i = 0; i < (map ? value->map.len : value->list.len); i++) {
            buf_puts(out, i ? "," : "");
            if (map)
                buf_printf(out, "%s:", value->map.entries[i].key.at);
            dump(map ? value->map.entries[i].value : value->list.items[i], out);
        }
        buf_putc(out, map ? '}' : ']');
    }
}

static struct manifest *make_manifest(const char *text)
{
    struct settings settings = {.api_prefix = (char *)"", .body_limit_max = 1000};
    struct problems problems = {0};
    FILE *file = fopen("manifest.yaml", "w");
    struct manifest *manifest;
    struct err err;

    fputs(text, file);
    fclose(file);
    manifest = manifest_read(".", &settings, &problems);
    if (!problems_err(&problems, &err))
        fprintf(stderr, "%s\n", err.message);
    CHECK(manifest && problems.errors == 0);
    problems_fini(&problems);
    return manifest;
}

static void check_sample(const struct sample *sample)
{
    const struct lines env = {{get}, sample->env};
    struct manifest *manifest = make_manifest(sample->manifest);
    struct problems problems = {0};
    struct config *config = config_resolve(manifest, &env.source, &problems);
    struct buf got = {0};

    manifest_unref(manifest); /* the configuration keeps what it needs */
    if (config)
        dump(config_root(config), &got);
    CHECK(!config == (problems.errors > 0));
    for (size_t i = 0; i < problems.len; i++) {
        char *text = problem_text(&problems.items[i]);
        buf_printf(&got, "%s\n", text + strlen("manifest.yaml:"));
        free(text);
        CHECK_STR(problems.items[i].code, "CONFIG_INVALID");
    }
    if (strcmp(got.data, sample->want) != 0) {
        fprintf(stderr, "%s\n--- got\n%s\n--- want\n%s\n", sample->title, got.data, sample->want);
        exit(1);
    }
    config_free(config);
    problems_fini(&problems);
    buf_fini(&got);
}

static const struct config_item *item(const struct config *config, const char *key)
{
    for (size_t i = 0; i < config_item_count(config); i++) {
        if (strcmp(config_item_at(config, i)->key, key) == 0)
            return config_item_at(config, i);
    }
    return NULL;
}

static void test_items_and_secrets(void)
{
    const struct lines env = {{get}, "P=geheim-env\nN=1"};
    struct manifest *manifest =
        make_manifest(HEAD "config:\n  p: { type: password, env: P }\n  o: { type: object, "
                           "properties: { q: { type: password }, n: { type: number, env: N } } }\n"
                           "  d: { type: string, default: x }\n  u: { type: string }\n"
                           "o: { q: geheim-literal }\nextra: 1\n");
    struct problems problems = {0};
    struct config *config = config_resolve(manifest, &env.source, &problems);
    char text[] = "geheim-env geheim-literal", after[] = "geheim-env geheim-literal";

    CHECK(config && config_item_count(config) == 6);
    CHECK(item(config, "p")->secret && item(config, "p")->source == CONFIG_ENV);
    CHECK_STR(item(config, "p")->env, "P");
    CHECK(item(config, "o.q")->secret && item(config, "o.q")->source == CONFIG_MANIFEST);
    CHECK(!item(config, "o.n")->secret && item(config, "o.n")->source == CONFIG_ENV);
    CHECK(item(config, "d")->source == CONFIG_DEFAULT && !item(config, "d")->env);
    CHECK(item(config, "u")->source == CONFIG_NONE && !item(config, "u")->value);
    CHECK(item(config, "extra")->source == CONFIG_MANIFEST);
    log_mask(text);
    CHECK_STR(text, "*** ***");
    config_free(config);
    log_mask(after);
    CHECK_STR(after, "geheim-env geheim-literal");
    manifest_unref(manifest);
}

static void test_digest(void)
{
    struct lines env = {{get}, "A=1\nB=2\nOTHER=3"};
    struct manifest *manifest =
        make_manifest(HEAD "config:\n  a: { type: string, env: A }\n  o: { type: object, "
                           "properties: { b: { type: string, env: B } } }\n");
    char first[65], again[65];

    config_env_digest(manifest, &env.source, first);
    CHECK(strlen(first) == 64 && strspn(first, "0123456789abcdef") == 64);
    env.text = "OTHER=4\nB=2\nA=1";
    config_env_digest(manifest, &env.source, again);
    CHECK_STR(again, first);
    env.text = "A=1\nB=3";
    config_env_digest(manifest, &env.source, again);
    CHECK(strcmp(first, again) != 0);
    env.text = "A=1";
    config_env_digest(manifest, &env.source, again);
    CHECK(strcmp(first, again) != 0);
    manifest_unref(manifest);
}

int main(void)
{
    char dir[] = "/tmp/test_fields_XXXXXX", command[64];

    CHECK(mkdtemp(dir) && chdir(dir) == 0);
    fclose(fopen("plugin.lua", "w"));
    for (size_t i = 0; i < LEN(samples); i++)
        check_sample(&samples[i]);
    test_items_and_secrets();
    test_digest();
    snprintf(command, sizeof(command), "rm -r %s", dir);
    CHECK(system(command) == 0);
    printf("ok %zu cases\n", LEN(samples));
    return 0;
}
